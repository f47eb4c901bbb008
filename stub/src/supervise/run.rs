//! The loop: what happens goes to the engine, and what that says is done.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

use signal_hook::consts::SIGCHLD;

use super::Event;
use super::children::Children;
use super::engine::{Action, End, Engine, Spec};
use super::output::Output;
use crate::error::{Error, Result};
use crate::lifecycle::Phase;
use crate::manager::{Reply, Request};
use crate::progress::Progress;
use crate::services::{Service, Services};

/// The exit code of a service whose program could not be started, as of systemd's units.
const NOT_STARTED: u8 = 203;

/// A run of the services.
pub(super) struct Run<'a> {
    engine: Engine,
    children: Children,
    output: Output,
    progress: &'a Progress,
    began: Instant,
    /// When it was asked to end.
    asked: Option<Instant>,
    /// Why it ends by itself.
    failure: Option<Error>,
}

impl<'a> Run<'a> {
    /// Nothing runs yet.
    pub(super) fn new(
        services: &Services,
        children: Children,
        output: Output,
        progress: &'a Progress,
    ) -> Self {
        let now = Instant::now();
        Self {
            engine: Engine::new(Spec::all(services), now),
            children,
            output,
            progress,
            began: now,
            asked: None,
            failure: None,
        }
    }

    /// Until everything has ended.
    pub(super) fn go(&mut self, happened: &Receiver<Event>) {
        loop {
            for action in self.engine.step(Instant::now()) {
                self.carry_out(action);
            }
            if self.engine.has_ended() {
                return;
            }
            let event = match self.engine.deadline() {
                Some(at) => happened.recv_timeout(at.saturating_duration_since(Instant::now())),
                None => happened.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            if let Ok(event) = event {
                self.happened(event);
            }
        }
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Start(service) => match self.children.start(service) {
                Ok(pid) => self.engine.started(service, pid, SystemTime::now()),
                Err(error) => {
                    self.say(&format!("{}: {error}", service.as_str()));
                    self.engine
                        .ended(service, End::Code(NOT_STARTED), Instant::now());
                }
            },
            Action::Ask(service) => self.children.ask(service),
            Action::Kill(service) => self.children.kill(service),
            Action::Say(text) => self.say(&text),
        }
    }

    fn happened(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::Signal(SIGCHLD) => {
                for (service, end) in self.children.ended() {
                    self.engine.ended(service, end, now);
                }
            }
            Event::Signal(_) if self.asked.is_some() => {
                self.say(
                    "everything is stopping already; services that do not end in time are killed",
                );
            }
            Event::Signal(signal) => {
                let name = signal_hook::low_level::signal_name(signal).unwrap_or("a signal");
                self.begin_end(&format!("stopping everything, because of {name}"));
            }
            Event::Said(service, text) => self.said(service, &text, now),
            Event::Asked(request, reply) => {
                // Whoever has gone away does not want it.
                let _ = reply.send(self.answer(request));
            }
            Event::BroughtUp(_) if self.asked.is_some() => {}
            Event::BroughtUp(Ok(phases)) => self.up(&phases),
            Event::BroughtUp(Err(error)) => {
                self.failure = Some(error);
                self.begin_end("the cluster does not start; stopping everything");
            }
        }
    }

    fn said(&mut self, service: Service, text: &str, now: Instant) {
        for line in text.lines() {
            match line.split_once('=') {
                Some(("READY", "1")) => self.engine.ready(service, now),
                Some(("STOPPING", "1")) => self.engine.announces_end(service, now),
                Some(("STATUS", status)) => self.engine.status(service, status),
                Some(("EXTEND_TIMEOUT_USEC", time)) => {
                    let time = Duration::from_micros(time.parse().unwrap_or_default());
                    self.engine.extend(service, time, now);
                }
                _ => {}
            }
        }
    }

    fn answer(&mut self, request: Request) -> Reply {
        match request {
            Request::Show => return Reply::Units(self.engine.show()),
            Request::Start(units) => units.iter().for_each(|unit| self.engine.start(unit)),
            Request::Stop(units) => units.iter().for_each(|unit| self.engine.stop(unit)),
            Request::StopTargetOnly(target) => self.engine.stop_target_only(&target),
            Request::Restart(units) => units.iter().for_each(|unit| self.engine.restart(unit)),
            Request::End => {
                self.begin_end("stopping everything, because another command asks for it");
            }
        }
        Reply::Done
    }

    fn begin_end(&mut self, why: &str) {
        if self.asked.is_none() {
            self.say(why);
            self.asked = Some(Instant::now());
            self.engine.end();
        }
    }

    fn up(&mut self, phases: &[Phase]) {
        for phase in phases {
            self.say(&format!("{:7.1} s  {}", phase.seconds, phase.name));
        }
        self.say(&format!(
            "the cluster is up after {:.1} s and runs until this process ends: ^C, SIGTERM or `usernetes stop` stops it",
            self.began.elapsed().as_secs_f64()
        ));
    }

    fn say(&self, text: &str) {
        self.output.own(self.progress, text);
    }

    /// What it came to.
    pub(super) fn end(self) -> Result<()> {
        let left = self.children.clear()?;
        let seconds = self
            .asked
            .map_or(0.0, |asked| asked.elapsed().as_secs_f64());
        let more = match left {
            0 => String::new(),
            1 => "; 1 process that a service had left was killed".to_owned(),
            left => format!("; {left} processes that services had left were killed"),
        };
        let text = format!("everything has stopped after {seconds:.1} s{more}");
        self.output.own(self.progress, &text);
        self.failure.map_or(Ok(()), Err)
    }
}
