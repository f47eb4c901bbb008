//! Starting and stopping an installed cluster, waiting until it works, and changing it while it runs.

mod addons;
mod defragment;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod images;
mod ports;
mod ready;
mod renewed;
mod replaced;
mod services;
mod start;
mod stop;

pub use defragment::defragment_if_worth_it;
pub use images::{Image, Origin, list_images, load_images, remove_images};
pub use ports::{ports, publish, publish_services, unpublish};
pub use ready::Phase;
pub(crate) use ready::timed;
pub(crate) use ready::{PATIENCE, Waiter};
pub(crate) use renewed::restart_users;
pub use renewed::{renew, renew_due, renew_due_and_restart, runs_too_long};
pub(crate) use replaced::{publish_description, renew_pods_of_ours, restart_and_wait, wait_until};
pub use services::missing;
pub(crate) use services::upholder;
pub(crate) use start::bring_up;
pub use start::{start, start_target};
pub use stop::{end_run, restart, stop, stop_all, stop_unit};
