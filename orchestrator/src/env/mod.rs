//! The seam to the world: everything that touches tmux, git, files, processes, clocks or entropy.

pub mod tmux;
