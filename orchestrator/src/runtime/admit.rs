//! What happens beside `orch serve`: making an installation, and accepting projects into its queue.

use super::serve::{ServeError, moment};
use crate::config::{Config, Home, HomeError};
use crate::domain::failure::Failure;
use crate::domain::id::ProjectId;
use crate::domain::limits::deadline;
use crate::domain::request::RequestKind;
use crate::domain::spec::Spec;
use crate::env::clock;
use crate::env::git::Git;
use crate::spool::Folder;
use crate::store::{Accepted, Mode, Store, StoreError};
use crate::validate::spec::{self, SpecError};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

/// Why nothing was made or accepted; its text is one line.
#[derive(Debug, Error)]
pub enum AdmitError {
    /// The place is not one for an installation.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The spec cannot be used.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// Its repository cannot be used.
    #[error("repo = {repo}: {}", words(failure))]
    Repo {
        /// The repository, as the spec names it.
        repo: String,
        /// The evidence.
        failure: Box<Failure>,
    },
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The surroundings are not as they must be.
    #[error(transparent)]
    Environment(#[from] ServeError),
}

/// A failure of git in one line: what it means where that is known, otherwise git's own last words.
fn words(failure: &Failure) -> String {
    let said = failure.stderr.text().and_then(|text| text.trim_end().lines().next_back());
    failure.hint.as_deref().or(said).map_or_else(|| failure.ending.to_string(), str::to_owned)
}

/// Makes an installation at `dir`.
///
/// # Errors
/// If there is one already, or it cannot be made.
pub fn init(dir: &Path) -> Result<Home, AdmitError> {
    let home = Home::init(dir)?;
    let mut store = Store::open(&home.db(), Mode::Create)?;
    let entropy =
        clock::entropy().map_err(|error| ServeError::Environment { what: "draw entropy", why: error.to_string() })?;
    store.set_installation(&format!("{:02x}{:02x}", entropy[0], entropy[1]))?;
    Ok(home)
}

/// Accepts the project that the file specifies; answers only after the commit (G1). What can be known to fail at
/// launch is refused here.
///
/// # Errors
/// [`AdmitError`]; nothing was accepted.
pub fn enqueue(home: &Home, config: &Config, file: &Path) -> Result<Accepted, AdmitError> {
    let spec = examine(config, file)?;
    let mut store = Store::open(&home.db(), Mode::Existing)?;
    let now = moment(&mut store)?;
    let accepted = store.enqueue(&spec, &now)?;
    wake(home);
    Ok(accepted)
}

/// Reads and judges a spec, the files it names and its repository; changes nothing.
///
/// # Errors
/// [`AdmitError`]: the first rule that is broken.
pub fn examine(config: &Config, file: &Path) -> Result<Spec, AdmitError> {
    let draft = spec::read_spec(file)?;
    let git =
        Git { program: PathBuf::from(&config.git), deadline: Duration::from_micros(deadline::GIT.0), marker: None };
    let (root, sha) = resolve(&git, &draft.repo, &draft.base)?;
    Ok(spec::finish(draft, root, sha))
}

/// Records what an operator asks for, of a project or of the fleet; answers its number only after the commit.
///
/// # Errors
/// [`AdmitError`]; nothing was asked.
pub fn request(
    home: &Home,
    store: &mut Store,
    project: impl Into<Option<ProjectId>>,
    kind: RequestKind,
) -> Result<i64, AdmitError> {
    let now = moment(store)?;
    let request = store.request(project, kind, &now)?;
    wake(home);
    Ok(request)
}

/// Touches the spool, so that a running `orch serve` looks at once; otherwise its sweep does.
fn wake(home: &Home) {
    drop(File::create(home.spool().join(Folder::New.name()).join(".wake")));
}

fn resolve(git: &Git, repo: &str, base: &str) -> Result<(String, String), AdmitError> {
    let refused = |failure: Failure| AdmitError::Repo { repo: repo.to_owned(), failure: Box::new(failure) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| ServeError::Environment { what: "start the runtime", why: error.to_string() })?;
    runtime.block_on(async {
        let found = git.inspect_repo(Path::new(repo)).await.map_err(refused)?;
        let sha = git.resolve(&found.root, base).await.map_err(refused)?;
        Ok((found.root.display().to_string(), sha))
    })
}
