//! When the system refuses because we lack something ourselves.

use rustix::io::Errno;

/// Whether the system refused for want of our own descriptors, memory or processes. Then nothing is wrong with what was
/// asked about, as far as is known, and a look that left it out would prove an end that was none (INV-P3, T28). EAGAIN is
/// the limit of processes; no file is read in a way that could say it.
#[must_use]
pub fn is_ours(error: Errno) -> bool {
    matches!(error, Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN)
}
