//! Looking at worktrees and resources: what is there, without a judgement.

use super::World;
use crate::domain::effect::RoleLook;
use crate::domain::event::{FileFound, FileIs, RoleFound};
use crate::domain::limits;
use crate::domain::project::Pin;
use crate::env::files::{self, Found, InspectLimits};
use crate::env::git::{self, LinkError};
use std::path::Path;

/// Looks at one role. Blocks; callers hand it to a blocking thread.
///
/// # Errors
/// Why something could not be looked at just now, for want of descriptors, say: that is no finding (G3, T28).
pub(super) fn look_at(world: &World, look: &RoleLook) -> Result<RoleFound, String> {
    let worktree = world.path(&look.worktree);
    let linked = match git::worktree_linked(&worktree) {
        Ok(()) => None,
        Err(LinkError::Wrong(why)) => Some(why),
        Err(LinkError::NotNow(why)) => return Err(why),
    };
    let files = look.files.iter().map(|path| file(&worktree, path)).collect::<Result<_, _>>()?;
    Ok(RoleFound { role: look.role.clone(), worktree: linked, files })
}

fn file(worktree: &Path, path: &str) -> Result<FileFound, String> {
    let limits = InspectLimits { bytes_max: limits::BRIEF_BYTES_MAX };
    let is = match files::inspect(&worktree.join(path), limits) {
        Found::Regular { size, sha256, utf8: true, has_nul: false } => FileIs::Regular(Pin { size, sha256 }),
        Found::Regular { .. } => FileIs::Unusable("it is not text (UTF-8 without NUL)".to_owned()),
        Found::Missing => FileIs::Missing,
        Found::Symlink { target } => FileIs::Unusable(format!("it is a symlink to {}", target.display())),
        Found::Directory => FileIs::Unusable("it is a directory".to_owned()),
        Found::Special { kind } => FileIs::Unusable(format!("it is a {kind}")),
        Found::Unreadable { why } => FileIs::Unusable(format!("it cannot be read: {why}")),
        Found::NotNow { why } => return Err(format!("{path}: {why}")),
        Found::TooLarge { size } => FileIs::Unusable(format!("it has {size} bytes")),
    };
    Ok(FileFound { path: path.to_owned(), is })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::scarce;

    #[test]
    fn without_descriptors_nothing_is_found_wrong() {
        if !scarce::is_here("env::live::look::tests::without_descriptors_nothing_is_found_wrong") {
            return;
        }
        let dir = tempfile::tempdir().expect("a directory");
        let (worktree, admin) = (dir.path().join("tree"), dir.path().join("admin"));
        for made in [&worktree, &admin] {
            std::fs::create_dir(made).expect("made");
        }
        std::fs::write(worktree.join(".git"), format!("gitdir: {}\n", admin.display())).expect("written");
        std::fs::write(worktree.join("CLAUDE.md"), "Be good.").expect("written");
        let mut taken = scarce::take_all();
        for free in 0..4 {
            let linked = git::worktree_linked(&worktree);
            assert!(!matches!(linked, Err(LinkError::Wrong(_))), "with {free} descriptors left: {linked:?}");
            let found = file(&worktree, "CLAUDE.md");
            let sound = |found: &FileFound| matches!(found.is, FileIs::Regular(_));
            assert!(found.as_ref().map_or(true, sound), "with {free} descriptors left: {found:?}");
            drop(taken.pop());
        }
        assert_eq!(git::worktree_linked(&worktree), Ok(()));
        assert!(file(&worktree, "CLAUDE.md").is_ok());
    }
}
