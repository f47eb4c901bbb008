//! The states of a service.

use std::time::{Instant, SystemTime};

use super::Spec;

/// What comes after a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    Stay,
    Start,
    /// It ended by itself, or took too long: start it when its delay is over.
    Retry,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Stopped,
    /// It starts when it is its turn.
    Queued,
    Starting(Instant),
    Active,
    /// It is asked to end when it is its turn.
    StopQueued(Then),
    /// It was asked to end. It is killed at that time, if it was not yet.
    Stopping(Then, Option<Instant>),
    /// It starts again at that time.
    Waiting(Instant),
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::supervise) enum End {
    Code(u8),
    Signal(i32),
}

impl End {
    pub(super) fn text(self) -> String {
        match self {
            Self::Code(code) => format!("exit code {code}"),
            Self::Signal(signal) => format!("signal {signal}"),
        }
    }
}

#[derive(Debug)]
pub(super) struct Item {
    pub(super) spec: Spec,
    pub(super) state: State,
    pub(super) pid: Option<u32>,
    pub(super) restarts: u32,
    /// Restarts since it last ran for long.
    pub(super) streak: u32,
    pub(super) begun: Option<Instant>,
    pub(super) ready: Option<Instant>,
    pub(super) started: Option<SystemTime>,
    pub(super) status: String,
}

impl Item {
    /// Stopped, and never started.
    pub(super) fn new(spec: Spec) -> Self {
        Self {
            spec,
            state: State::Stopped,
            pid: None,
            restarts: 0,
            streak: 0,
            begun: None,
            ready: None,
            started: None,
            status: String::new(),
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        matches!(self.state, State::StopQueued(_) | State::Stopping(..))
    }

    pub(super) fn is_clean(&self, end: End) -> bool {
        match end {
            End::Code(code) => code == 0 || self.spec.clean_exits.contains(&code),
            End::Signal(signal) => signal == signal_hook::consts::SIGTERM,
        }
    }
}
