//! A key server and the members of its groups in one process, for benchmarks: [`site`] is how they are set
//! up, [`fleet`] has them exchange messages, [`spent`] what that takes. Not part of the product.

mod certificates;
pub mod fleet;
pub mod site;
pub mod spent;
