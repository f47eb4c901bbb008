//! What can be asked for: starting and stopping, with those that depend on it.

use super::{Engine, State, Then};
use crate::config::Target;
use crate::services::{Service, TARGETS, with_wanted};

impl Engine {
    /// Starts a target or a service, and what it needs. Does nothing once everything is to end.
    pub(in crate::supervise) fn start(&mut self, unit: &str) {
        if self.ending {
            return;
        }
        if let Ok(target) = unit.parse::<Target>() {
            self.targets.extend(with_wanted(target));
        } else if let Some(service) = self.of_unit(unit) {
            self.queue(service);
        }
    }

    /// Stops a target with everything that belongs to it, or a service with everything that is bound to it.
    pub(in crate::supervise) fn stop(&mut self, unit: &str) {
        if let Ok(target) = unit.parse::<Target>() {
            self.stop_target(target);
        } else if let Some(service) = self.of_unit(unit) {
            self.stop_service(service, Then::Stay);
        }
    }

    /// Lets a target be stopped, and its services run on: they are not started again when they end.
    pub(in crate::supervise) fn stop_target_only(&mut self, unit: &str) {
        if let Ok(target) = unit.parse::<Target>() {
            self.targets.remove(&target);
        }
    }

    /// Stops and starts a service and those that are bound to it, or all of a target.
    pub(in crate::supervise) fn restart(&mut self, unit: &str) {
        if let Ok(target) = unit.parse::<Target>() {
            let targets = with_wanted(target);
            let members = self
                .items
                .iter()
                .filter(|i| targets.contains(&i.spec.target));
            let members: Vec<_> = members.map(|i| i.spec.service).collect();
            for service in members {
                self.stop_service(service, Then::Start);
            }
            self.start(unit);
        } else if let Some(service) = self.of_unit(unit) {
            self.stop_service(service, Then::Start);
            self.queue(service);
        }
    }

    /// Stops everything, for good.
    pub(in crate::supervise) fn end(&mut self) {
        self.ending = true;
        self.targets.clear();
        let all: Vec<_> = self.items.iter().map(|i| i.spec.service).collect();
        for service in all {
            self.stop_service(service, Then::Stay);
        }
    }

    /// Lets a service start when it is its turn, and those it needs before.
    pub(super) fn queue(&mut self, service: Service) {
        if self.ending {
            return;
        }
        let item = self.item(service);
        match &mut item.state {
            State::Stopped | State::Waiting(_) => item.state = State::Queued,
            State::StopQueued(then) | State::Stopping(then, _) => *then = Then::Start,
            State::Queued | State::Starting(_) | State::Active => return,
        }
        for needed in item.spec.needs.clone() {
            // One that failed keeps its delay, however many ask for it.
            if !matches!(self.item(needed).state, State::Waiting(_)) {
                self.queue(needed);
            }
        }
    }

    fn stop_target(&mut self, target: Target) {
        self.targets.remove(&target);
        let members: Vec<_> = self
            .items
            .iter()
            .filter(|i| i.spec.target == target)
            .map(|i| i.spec.service)
            .collect();
        for service in members {
            self.stop_service(service, Then::Stay);
        }
        let parts = TARGETS.iter().filter(|row| row.part_of == Some(target));
        parts.for_each(|row| self.stop_target(row.target));
    }

    pub(super) fn stop_service(&mut self, service: Service, then: Then) {
        let item = self.item(service);
        match &mut item.state {
            State::Stopped => return,
            State::Queued | State::Waiting(_) if then == Then::Stay => item.state = State::Stopped,
            State::Queued | State::Waiting(_) => item.state = State::Queued,
            State::Starting(_) | State::Active => item.state = State::StopQueued(then),
            State::StopQueued(next) | State::Stopping(next, _) => *next = then,
        }
        for bound in self.bound_to(service) {
            self.stop_service(bound, then);
        }
    }

    /// Stops those that cannot run without a service that ended by itself. An active target brings them back.
    pub(super) fn stop_bound(&mut self, service: Service) {
        for bound in self.bound_to(service) {
            if matches!(self.item(bound).state, State::Starting(_) | State::Active) {
                self.stop_service(bound, Then::Stay);
            }
        }
    }

    fn bound_to(&self, service: Service) -> Vec<Service> {
        let bound = self
            .items
            .iter()
            .filter(|i| i.spec.binds.contains(&service));
        bound.map(|i| i.spec.service).collect()
    }

    fn of_unit(&self, unit: &str) -> Option<Service> {
        let item = self.items.iter().find(|i| i.spec.unit == unit);
        item.map(|i| i.spec.service)
    }
}
