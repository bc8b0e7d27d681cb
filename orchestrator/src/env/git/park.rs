//! What stands where a worktree is to be, moved aside: never deleted, for it may be work.
//!
//! Four steps, each of which may be found done (C28): a link to the repository that was lost is mended, since by it alone
//! what is in the park is known again; the directory gets a free name there by one rename; git is told where it is now;
//! its HEAD lets go of the branch that is wanted. The index, what is uncommitted and every commit stay. A lock with a
//! reason of its own is somebody's word that nothing is to be moved: it is respected.

use super::link::{LinkError, common_dir, linked_git_dir, proved, read_text, refused};
use super::{Git, Registered, WorktreeSpec, in_the_way, parse_list, refusal, utf8};
use crate::domain::failure::{Failure, FailureKind};
use crate::env::files;
use std::path::{Path, PathBuf};

impl Git {
    /// All worktrees that the repository knows.
    pub(super) async fn list(&self, repo: &Path) -> Result<Vec<Registered>, Failure> {
        let list = self.bytes(repo, &["worktree", "list", "--porcelain", "-z"], true).await?;
        Ok(parse_list(&String::from_utf8_lossy(&list.stdout)))
    }

    /// Moves what is at `path` into the park and tells git; says where it is now.
    pub(super) async fn set_aside(&self, w: &WorktreeSpec, path: &Path) -> Result<PathBuf, Failure> {
        let lacking = |error| not_known(w, error);
        let admin = admin_of(&w.repo, path).map_err(lacking)?;
        let linked = proved(linked_git_dir(path)).map_err(lacking)?;
        // The lock may be another repository's, too.
        for git_dir in admin.iter().chain(&linked) {
            if let Some(reason) = proved(read_text(&git_dir.join("locked"))).map_err(lacking)? {
                return Err(in_the_way(w, locked(path, &reason)));
            }
        }
        let unmoved = |error: std::io::Error| match refused(path, &error) {
            LinkError::Wrong(_) => in_the_way(w, format!("{} cannot be parked: {error}", path.display())),
            error @ LinkError::NotNow(_) => lacking(error),
        };
        if let Some(admin) = admin.filter(|_| linked.is_none_or(|git_dir| !git_dir.is_dir())) {
            mend_link(&admin, path).map_err(unmoved)?;
        }
        let place = files::move_aside(path, &w.park).map_err(unmoved)?;
        self.settle_parked(w, &place).await?;
        Ok(place)
    }

    /// What an earlier call moved into the park without coming to tell git: that is done now.
    pub(super) async fn finish_parking(&self, w: &WorktreeSpec, path: &Path) -> Result<Option<PathBuf>, Failure> {
        let lacking = |error| not_known(w, error);
        let admin = admin_of(&w.repo, path).map_err(lacking)?;
        let (Some(admin), Some(name)) = (admin, path.file_name()) else { return Ok(None) };
        let prefix = format!("{}.", name.to_string_lossy());
        let listed = std::fs::read_dir(&w.park).map_err(|error| refused(&w.park, &error));
        let Some(entries) = proved(listed).map_err(lacking)? else { return Ok(None) };
        for entry in entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix)) {
            let place = entry.path();
            if proved(linked_git_dir(&place)).map_err(lacking)?.is_some_and(|git_dir| git_dir == admin) {
                self.settle_parked(w, &place).await?;
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    /// Tells git where a parked worktree is now and frees the branch. A directory that is no worktree needs neither.
    async fn settle_parked(&self, w: &WorktreeSpec, place: &Path) -> Result<(), Failure> {
        let Some(shared) = proved(common_dir(place)).map_err(|error| not_known(w, error))? else { return Ok(()) };
        if !place.join(".git").is_file() {
            return Ok(());
        }
        let failed = |why: String| in_the_way(w, format!("{} is parked, but {why}", place.display()));
        let shown = utf8(place).map_err(failed)?;
        self.call(&shared, &["worktree", "repair", shown]).await?;
        self.free_branch(w, place).await
    }

    /// Makes sure that no worktree holds the branch: one of the same folder is ours and is parked, any other is named.
    pub(super) async fn take_branch(
        &self,
        w: &WorktreeSpec,
        branch_ref: &str,
        parked: &mut Vec<PathBuf>,
    ) -> Result<(), Failure> {
        let list = self.list(&w.repo).await?;
        let holder = list.iter().find(|e| e.path != w.path && e.branch.as_deref() == Some(branch_ref));
        let Some(holder) = holder else { return Ok(()) };
        if holder.path.parent() == Some(&w.park) {
            self.free_branch(w, &holder.path).await?;
            // Whoever moved it did not come to tell.
            parked.push(holder.path.clone());
            return Ok(());
        }
        if holder.path.parent() == w.path.parent() {
            let aside = if holder.path.exists() {
                Some(self.set_aside(w, &holder.path).await?)
            } else {
                self.finish_parking(w, &holder.path).await?
            };
            if let Some(aside) = aside {
                parked.push(aside);
                return Ok(());
            }
        }
        let place = holder.path.display();
        Err(in_the_way(w, format!("branch {} is checked out in the worktree {place}", w.branch)))
    }

    /// Detaches the HEAD of a parked worktree if it is on the branch that is wanted. Index and files stay, as does a
    /// merge in progress.
    async fn free_branch(&self, w: &WorktreeSpec, place: &Path) -> Result<(), Failure> {
        let branch = format!("refs/heads/{}", w.branch);
        let holds = |entry: &Registered| entry.path == place && entry.branch.as_deref() == Some(&branch);
        if !self.list(&w.repo).await?.iter().any(holds) {
            return Ok(());
        }
        // A branch that was deleted under it has no commit; then where it began serves as well.
        let sha = match self.resolve(&w.repo, &branch).await {
            Ok(sha) => sha,
            Err(_) => self.resolve(&w.repo, &w.base).await?,
        };
        self.call(place, &["update-ref", "--no-deref", "-m", "orch: parked", "HEAD", &sha]).await?;
        if self.list(&w.repo).await?.iter().any(holds) {
            let what = ["free_branch", &place.display().to_string()];
            let why = format!("{} still holds the branch {}", place.display(), w.branch);
            return Err(refusal(&what, FailureKind::WorktreeInvalid, why));
        }
        Ok(())
    }
}

/// Links a directory to its registration again, by which index and HEAD are found, if nothing but a broken link is where
/// the link belongs. Cut short after this, it stands there as the worktree that it was.
fn mend_link(admin: &Path, path: &Path) -> std::io::Result<()> {
    let link = path.join(".git");
    let free = match link.symlink_metadata() {
        Ok(about) => about.is_file(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    if !path.is_dir() || !free {
        return Ok(());
    }
    let admin = utf8(admin).map_err(std::io::Error::other)?;
    std::fs::write(&link, format!("gitdir: {admin}\n"))
}

/// Something is in the way, or it cannot be known just now, which is nobody's fault.
pub(super) fn not_known(w: &WorktreeSpec, error: LinkError) -> Failure {
    match error {
        LinkError::Wrong(why) => in_the_way(w, why),
        LinkError::NotNow(why) => Failure { kind: FailureKind::Exhausted, ..in_the_way(w, why) },
    }
}

/// A lock in words, with its reason.
pub(super) fn locked(path: &Path, reason: &str) -> String {
    let reason = reason.trim();
    let reason = if reason.is_empty() { "no reason is given" } else { reason };
    format!("{} is locked by git worktree lock: {reason}", path.display())
}

/// The registration of the worktree at `path` with this repository, which may say so although nothing is there.
fn admin_of(repo: &Path, path: &Path) -> Result<Option<PathBuf>, LinkError> {
    let Some(shared) = proved(common_dir(repo))? else { return Ok(None) };
    let all = shared.join("worktrees");
    let listed = std::fs::read_dir(&all).map_err(|error| refused(&all, &error));
    let Some(entries) = proved(listed)? else { return Ok(None) };
    let link = path.join(".git");
    for entry in entries {
        let Some(entry) = proved(entry.map_err(|error| refused(&all, &error)))? else { continue };
        let admin = entry.path();
        // git 2.48 and later may write it relative to the registration.
        let text = proved(read_text(&admin.join("gitdir")))?;
        if text.is_some_and(|text| admin.join(text.trim_end_matches('\n')) == link) {
            return Ok(Some(admin));
        }
    }
    Ok(None)
}
