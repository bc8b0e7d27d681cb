//! The invariants once more, held against what is true at every moment of a simulated world.
//!
//! A live run samples the world; a simulated one tells every change ([`crate::witness`]), so these look at each event
//! as it happens and remember only what is open. Their cost does not grow with the length of the run.

mod alive;
mod answered;
mod apart;
mod attention;
mod audited;
mod bounded;
mod cleared;
mod counted;
mod dated;
mod discreet;
mod founded;
mod intended;
mod kept;
mod masked;
mod named;
mod noticed;
#[cfg(test)]
mod past;
mod reopened;
mod resting;
mod seats;
mod settled;
mod slots;
mod turns;
mod unique;
mod untouched;
mod verified;

pub use discreet::SECRETS;

use super::Checker;
use super::{absorbing, budget, conservation, errors, legality};
use orchestrator::domain::limits::Policy;

/// Every checker of a simulated run.
///
/// `fault_free` says that nothing will be injected: then every alarm is a false one.
#[must_use]
pub fn all(fault_free: bool) -> Vec<Box<dyn Checker>> {
    under(fault_free, Policy::default())
}

/// The same, for an installation with another policy.
#[must_use]
pub fn under(fault_free: bool, policy: Policy) -> Vec<Box<dyn Checker>> {
    vec![
        Box::<conservation::Conservation>::default(),
        Box::<legality::Legality>::default(),
        Box::<intended::Known>::default(),
        Box::new(alive::Alive::under(policy.clone())),
        Box::<verified::Verified>::default(),
        Box::<unique::Unique>::default(),
        Box::new(budget::Budget::under(policy.clone())),
        Box::new(kept::Kept::under(policy.clone())),
        Box::<errors::Errors>::default(),
        Box::<absorbing::Absorbing>::default(),
        Box::<counted::Counted>::default(),
        Box::<dated::Dated>::default(),
        Box::<intended::Intended>::default(),
        Box::<cleared::Cleared>::default(),
        Box::<discreet::Discreet>::default(),
        Box::new(seats::Seats::under(policy.clone())),
        Box::new(turns::Turns::under(policy.clone())),
        Box::<answered::Answered>::default(),
        Box::<untouched::Untouched>::default(),
        Box::new(noticed::Noticed::under(policy.clone())),
        Box::new(founded::Founded::new(fault_free)),
        Box::<named::Named>::default(),
        Box::<masked::Masked>::default(),
        Box::new(settled::Settled::under(policy.clone())),
        Box::<bounded::Bounded>::default(),
        Box::new(reopened::Reopened::under(policy.clone())),
        Box::new(apart::Apart::under(policy)),
        Box::<resting::Resting>::default(),
        Box::<audited::Audited>::default(),
    ]
}
