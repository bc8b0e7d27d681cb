//! Looking at worktrees and resources: what is there, without a judgement.

use super::World;
use crate::domain::effect::RoleLook;
use crate::domain::event::{FileFound, FileIs, RoleFound};
use crate::domain::limits;
use crate::domain::project::Pin;
use crate::env::files::{self, Found, InspectLimits};
use crate::env::git;
use std::path::Path;

/// Looks at several roles. Blocks; callers hand it to a blocking thread.
pub(super) fn look_at(world: &World, looks: &[RoleLook]) -> Vec<RoleFound> {
    looks
        .iter()
        .map(|look| {
            let worktree = world.path(&look.worktree);
            RoleFound {
                role: look.role.clone(),
                worktree: git::worktree_linked(&worktree).err(),
                files: look.files.iter().map(|path| file(&worktree, path)).collect(),
            }
        })
        .collect()
}

fn file(worktree: &Path, path: &str) -> FileFound {
    let limits = InspectLimits { bytes_max: limits::BRIEF_BYTES_MAX };
    let is = match files::inspect(&worktree.join(path), limits) {
        Found::Regular { size, sha256, utf8: true, has_nul: false } => FileIs::Regular(Pin { size, sha256 }),
        Found::Regular { .. } => FileIs::Unusable("it is not text (UTF-8 without NUL)".to_owned()),
        Found::Missing => FileIs::Missing,
        Found::Symlink { target } => FileIs::Unusable(format!("it is a symlink to {}", target.display())),
        Found::Directory => FileIs::Unusable("it is a directory".to_owned()),
        Found::Special { kind } => FileIs::Unusable(format!("it is a {kind}")),
        Found::Unreadable { why } => FileIs::Unusable(format!("it cannot be read: {why}")),
        Found::TooLarge { size } => FileIs::Unusable(format!("it has {size} bytes")),
    };
    FileFound { path: path.to_owned(), is }
}
