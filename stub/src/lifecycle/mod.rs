//! Starting and stopping what is installed, and waiting until it is true.

mod ready;
mod renewed;
mod services;
mod start;
mod stop;

pub use ready::Phase;
pub(crate) use ready::timed;
pub(crate) use renewed::restart_users;
pub use services::missing;
pub(crate) use services::upholder;
pub(crate) use start::bring_up;
pub use start::start;
pub use stop::{end_run, stop, stop_unit};
