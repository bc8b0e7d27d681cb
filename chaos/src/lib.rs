//! A harness that breaks the orchestrator on purpose and checks every promise it makes.
//!
//! # The way of a run
//! A [`seed`] becomes a [`schedule`] (pure, [`generate`]): which fault of the catalogue ([`fault`]) hits which project
//! when. [`live`] plays the schedule against a real `orch serve` on a private tmux server and brings home three
//! things: the orchestrator's journal ([`history`]), ground truth sampled from the world with what each fault's own
//! probe saw ([`truth`]), and the orchestrator's claims at the end. [`matching`] (pure) says from the journal alone
//! what became of each fault, [`check`] holds the journal against the truth, invariant by invariant, and [`report`]
//! writes down the verdict. [`cli`] is the only part that prints.
//!
//! # What it never does
//! It never asks the injector whether a fault was detected, never asks the orchestrator what is true of the world,
//! and never touches a process, session or file that is not of its own run.

pub mod check;
pub mod cli;
pub mod fault;
pub mod generate;
pub mod history;
pub mod live;
pub mod matching;
pub mod report;
pub mod schedule;
pub mod seed;
pub mod setting;
pub mod sim;
#[cfg(test)]
mod story;
pub mod truth;
pub mod witness;
