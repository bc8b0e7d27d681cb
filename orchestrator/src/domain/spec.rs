//! What a project is asked to be: the spec, resolved.
//!
//! Reading TOML, paths and files is `validate`'s work; by the time a [`Spec`] exists every path is absolute, every
//! text is in memory and every name is legal. It is stored whole with the project, so a spec file that is edited or
//! deleted later changes nothing.

use super::id::RoleName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A project as specified, self-contained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Any printable text; shown to people, never handed to tmux, git or a shell (G16).
    pub title: String,
    /// Canonical absolute path of the git repository's top level.
    pub repo: String,
    /// The commit from which every role's branch starts.
    pub base_sha: String,
    /// What every agent is told.
    pub brief: Arc<str>,
    /// Idempotency key: enqueueing the same key again answers the same project (G1).
    pub key: Option<String>,
    /// Higher runs first.
    pub priority: i32,
    /// Which batch it belongs to, for reports.
    pub batch: Option<String>,
    /// At least one, at most [`super::limits::ROLES_MAX`], names distinct.
    pub roles: Vec<RoleSpec>,
    /// Files that must be in the worktrees, beside CLAUDE.md.
    pub resources: Vec<ResourceRule>,
}

/// One agent's part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleSpec {
    /// Its name.
    pub name: RoleName,
    /// The agent's argument vector; run without a shell.
    pub command: Vec<String>,
    /// The content of its CLAUDE.md.
    pub claude_md: Arc<str>,
    /// Variables added to its environment.
    pub env: BTreeMap<String, String>,
    /// Whether it reports progress, so that silence may mean hung.
    pub progress: bool,
    /// What its program is told to report by itself; a project stored before this was known has none.
    #[serde(default)]
    pub hooks: Hooks,
}

/// Which program's hooks are written into a role's worktree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hooks {
    /// None: the agent reports by itself, or not at all.
    #[default]
    None,
    /// Those of Claude Code.
    Claude,
}

#[cfg(test)]
impl Spec {
    /// What a test needs that looks at something else: a spec with these roles and nothing special.
    pub(crate) fn plain(roles: Vec<RoleSpec>) -> Self {
        Self {
            title: "T".to_owned(),
            repo: "/r".to_owned(),
            base_sha: "c0ffee".to_owned(),
            brief: "b".into(),
            key: None,
            priority: 0,
            batch: None,
            roles,
            resources: Vec::new(),
        }
    }
}

/// A file that must be there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceRule {
    /// Path relative to the worktree, without `..`.
    pub path: String,
    /// Which roles need it; empty means all.
    pub roles: Vec<RoleName>,
    /// Smallest size that counts as there, in bytes.
    pub min_bytes: u64,
}
