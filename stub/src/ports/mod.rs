//! Keeping ports of this machine published. The service `ports` compares the ports that somebody wants with those that
//! RootlessKit has opened, again and again: a port that another program has taken, or whose address this machine does not
//! have at the moment, is opened as soon as that is possible, and holds up nothing until then.

mod exposed;
mod keeper;
mod record;

pub(crate) use exposed::{Exposed, Status};
pub(crate) use keeper::{Keeper, Wish};
pub use record::{Entry, Record};
