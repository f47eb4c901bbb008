//! Starting and stopping an installed cluster, waiting until it works, and changing it while it runs.

mod ports;
mod ready;
mod renewed;
mod services;
mod start;
mod stop;

pub use ports::{publish, unpublish};
pub use ready::Phase;
pub(crate) use ready::timed;
pub(crate) use ready::{PATIENCE, Waiter};
pub use renewed::renew;
pub(crate) use renewed::restart_users;
pub use services::missing;
pub(crate) use services::upholder;
pub(crate) use start::bring_up;
pub use start::{start, start_target};
pub use stop::{end_run, restart, stop, stop_all, stop_unit};
