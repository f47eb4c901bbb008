//! The store: immutable, content-addressed directories under `$XDG_DATA_HOME/usernetes`.
