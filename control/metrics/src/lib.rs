//! What a daemon shows to Prometheus: a [`Page`] of metric families in the text format, served by HTTP from
//! a thread of its own. That thread asks whoever owns the figures for them and waits for the answer with a
//! limit, so that no client can hold up the owner.

mod endpoint;
mod page;
mod process;
mod question;

pub use endpoint::{BindError, CONTENT_TYPE, Endpoint, Limits, Listener, PATH};
pub use page::{Bucket, Family, Kind, Page};
pub use process::process;
pub use question::{Asker, Question, questions};
