//! What the files of a worktree say of where it belongs, read without running git.

use super::INITIALIZING;
use crate::env::files;
use std::path::{Path, PathBuf};

/// Why a worktree is not known to be linked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// It is not, for this reason.
    #[error("{0}")]
    Wrong(String),
    /// It could not be read just now, for want of descriptors or memory of our own: nothing is known.
    #[error("{0}")]
    NotNow(String),
}

/// Whether `path` is linked to a repository as a whole worktree, whatever branch an agent may have checked out in it:
/// two small files are read and nothing is run, since a git process would cost a thousand times more.
///
/// # Errors
/// What is wrong, or why that is not known.
pub fn worktree_linked(path: &Path) -> Result<(), LinkError> {
    let git_dir = linked_git_dir(path)?;
    if !git_dir.is_dir() {
        return Err(LinkError::Wrong(format!("{} leads nowhere", path.join(".git").display())));
    }
    match std::fs::read_to_string(git_dir.join("locked")) {
        Ok(reason) if reason.trim() == INITIALIZING => {
            Err(LinkError::Wrong(format!("{} is the husk of an unfinished git worktree add", path.display())))
        }
        Err(error) if files::lacking(&error) => Err(refused(&git_dir, &error)),
        Ok(_) | Err(_) => Ok(()), // a lock of the user's own is none of our business
    }
}

/// Git's own directory of a worktree, if its link can be read.
#[must_use]
pub fn dir_of(path: &Path) -> Option<PathBuf> {
    linked_git_dir(path).ok()
}

/// The system's refusal at `path`: something wrong with it, or a lack of ours.
pub(super) fn refused(path: &Path, error: &std::io::Error) -> LinkError {
    let why = format!("{}: {error}", path.display());
    if files::lacking(error) { LinkError::NotNow(why) } else { LinkError::Wrong(why) }
}

/// What was found, or nothing where something is wrong; only a lack of ours stays an error.
pub(super) fn proved<T>(found: Result<T, LinkError>) -> Result<Option<T>, LinkError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(LinkError::Wrong(_)) => Ok(None),
        Err(error @ LinkError::NotNow(_)) => Err(error),
    }
}

/// Where the `.git` file of a worktree leads.
pub(super) fn linked_git_dir(path: &Path) -> Result<PathBuf, LinkError> {
    let link = path.join(".git");
    let failed = |error: std::io::Error| refused(&link, &error);
    if !link.symlink_metadata().map_err(failed)?.is_file() {
        return Err(LinkError::Wrong(format!("{} is not a regular file", link.display())));
    }
    let text = std::fs::read_to_string(&link).map_err(failed)?;
    let git_dir = text.trim_end_matches('\n').strip_prefix("gitdir: ");
    // An absolute path replaces the whole in this join; git 2.48 and later may write relative ones.
    let git_dir = git_dir.map(|git_dir| path.join(git_dir));
    git_dir.ok_or_else(|| LinkError::Wrong(format!("{} names no gitdir", link.display())))
}

/// The directory that all worktrees of one repository share, canonical, so that two can be compared.
pub(super) fn common_dir(top: &Path) -> Result<PathBuf, LinkError> {
    let link = top.join(".git");
    let mut shared = if link.is_dir() { link } else { linked_git_dir(top)? };
    let pointer = shared.join("commondir");
    if pointer.exists() {
        shared = shared.join(read_text(&pointer)?.trim_end_matches('\n'));
    }
    std::fs::canonicalize(&shared).map_err(|error| refused(&shared, &error))
}

pub(super) fn read_text(path: &Path) -> Result<String, LinkError> {
    std::fs::read_to_string(path).map_err(|error| refused(path, &error))
}
