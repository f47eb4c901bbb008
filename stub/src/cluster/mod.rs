//! What is installed: the current generation and its configuration, the receipt of everything that was written, and the
//! checks that come before any change.

mod access;
mod current;
mod endpoints;
mod guard;
mod merged;
mod programs;
mod receipt;
mod versions;

pub use access::api_address;
pub(crate) use access::{check_pki, component_server, is_local_api, pki_request};
pub use current::{Current, layout};
pub(crate) use current::{WRITE_ANEW, first_process, present};
pub(crate) use endpoints::{endpoints, node_api, remember_endpoints};
pub use guard::{check_data_home, check_owner, check_whole};
pub use merged::{remembered, save_to};
pub use programs::Program;
pub(crate) use programs::etcdctl_identity;
pub(crate) use receipt::{
    NAME as RECEIPT, WANTS, missing_directories, remember_places, units_of_others, ways,
};
pub use receipt::{Receipt, applied, unit_dir};
pub use versions::Versions;
