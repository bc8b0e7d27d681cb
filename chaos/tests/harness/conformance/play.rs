//! A play on either stage: effects are ordered, harm is done, and what comes back is written down, line by line.

use super::shape::{self, Names};
use super::stage::{Harm, ROLES, SESSION, Stage, branch, tree};
use orchestrator::domain::effect::{Effect, FileToWrite, Launch, RoleLook, Way};
use orchestrator::domain::event::{Event, Fact, PaneUp, Source};
use orchestrator::domain::failure::Failure;
use orchestrator::domain::id::{EffectId, Epoch, ProcessId, ProjectId, RoleName, Token};
use orchestrator::domain::project::{Project, Role, SessionIs, SessionRef, Worktree};
use orchestrator::domain::spec::{Hooks, RoleSpec, Spec};
use orchestrator::domain::state::{ProjectState, RoleState};
use orchestrator::domain::time::{Span, Timestamp};
use orchestrator::validate::judge;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How long an answer may take: beyond every deadline of either world.
const ANSWER: Span = Span::from_secs(40);
/// How long an event that must come may take.
const EVENT: Span = Span::from_secs(10);
/// After the last event that must come: how long one that must not come is waited for.
const QUIET: Span = Span(250_000);

pub(crate) const CLAUDE_MD: &str = "You are one of two.\n";
pub(crate) type Settled = Result<Fact, Box<Failure>>;

/// A play, and what was written down.
pub(crate) struct Play<'a> {
    stage: &'a mut dyn Stage,
    names: Names,
    ups: BTreeMap<String, PaneUp>,
    epochs: BTreeMap<String, u32>,
    server: Option<ProcessId>,
    heard: BTreeSet<String>,
    settled: BTreeMap<EffectId, Settled>,
    listed: Option<String>,
    lines: Vec<(String, String)>,
}

fn token(salt: u64, whose: &str, epoch: u32) -> Token {
    let number = ["a", "b", "session", "stranger"].iter().position(|known| *known == whose).expect("one of them");
    Token(format!("{salt:016x}{number:08x}{epoch:08x}"))
}

impl<'a> Play<'a> {
    pub(crate) fn on(stage: &'a mut dyn Stage) -> Self {
        let salt = stage.salt();
        let mut names: Names = ROLES
            .iter()
            .flat_map(|role| (1..9).map(move |epoch| (token(salt, role, epoch), format!("{role}{epoch}"))))
            .collect();
        names.insert(token(salt, "session", 1), "ours".to_owned());
        let epochs = ROLES.iter().map(|role| ((*role).to_owned(), 1)).collect();
        Self {
            stage,
            names,
            ups: BTreeMap::new(),
            epochs,
            server: None,
            heard: BTreeSet::new(),
            settled: BTreeMap::new(),
            listed: None,
            lines: Vec::new(),
        }
    }

    fn token(&self, whose: &str, epoch: u32) -> Token {
        token(self.stage.salt(), whose, epoch)
    }

    /// What was written down.
    pub(crate) fn over(self) -> Vec<(String, String)> {
        self.lines
    }

    fn line(&mut self, step: &str, what: String) {
        self.lines.push((step.to_owned(), what));
    }

    pub(crate) fn harm(&mut self, harm: Harm) {
        self.stage.harm(harm);
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "what is not looked into is named as it is")]
    /// Takes in what comes next; false if nothing came.
    fn listen(&mut self, within: Span) -> bool {
        let Some(happened) = self.stage.next(within) else { return false };
        if let Event::PanesListed { server, .. } = &happened.event {
            self.server.get_or_insert(*server);
        }
        match &happened.event {
            Event::Settled { effect, result, .. } => {
                match result {
                    Ok(Fact::SessionUp { panes, server, .. }) => {
                        self.server = Some(*server);
                        self.ups.extend(panes.iter().map(|up| (up.role.0.clone(), up.clone())));
                    }
                    Ok(Fact::AgentUp(up)) => drop(self.ups.insert(up.role.0.clone(), up.clone())),
                    _ => {}
                }
                self.settled.insert(*effect, result.clone());
            }
            Event::PanesListed { panes, .. } if happened.source == Source::Sweep => {
                self.listed = Some(shape::panes(&self.names, panes));
            }
            Event::TmuxLost { .. } if happened.source == Source::Sweep => {
                self.listed = Some("tmux does not answer".to_owned());
            }
            _ => drop(self.heard.insert(shape::event(&happened))),
        }
        true
    }

    pub(crate) fn order(&mut self, role: Option<&str>, effect: Effect) -> EffectId {
        self.stage.submit(role, effect)
    }

    /// Waits for an effect's end.
    pub(crate) fn end_of(&mut self, effect: EffectId) -> Settled {
        while !self.settled.contains_key(&effect) {
            assert!(self.listen(ANSWER), "an effect never settled; so far: {:?}", self.lines);
        }
        self.settled.remove(&effect).expect("just seen")
    }

    pub(crate) fn ends(&mut self, step: &str, effect: EffectId) {
        let settled = self.end_of(effect);
        self.line(step, shape::result(&settled));
    }

    /// Orders an effect and writes down how it ends.
    pub(crate) fn does(&mut self, step: &str, role: Option<&str>, effect: Effect) {
        let effect = self.order(role, effect);
        self.ends(step, effect);
    }

    /// Writes down which events came: all of these are waited for, and then whether there are others.
    pub(crate) fn hears(&mut self, step: &str, awaited: &[&str]) {
        self.await_events(awaited);
        let heard = std::mem::take(&mut self.heard).into_iter().collect::<Vec<_>>().join(", ");
        self.line(step, if heard.is_empty() { "nothing".to_owned() } else { heard });
    }

    fn await_events(&mut self, awaited: &[&str]) {
        while awaited.iter().any(|event| !self.heard.contains(*event)) && self.listen(EVENT) {}
        while self.listen(QUIET) {}
    }

    /// Writes down what a sweep finds.
    pub(crate) fn lists(&mut self, step: &str) {
        self.listed = None;
        self.order(None, Effect::ListPanes);
        while self.listed.is_none() && self.listen(EVENT) {}
        let listed = self.listed.take().unwrap_or_else(|| "no answer".to_owned());
        self.line(step, listed);
    }

    /// Lists until it is so, or it can be said that it will not be; writes down what is.
    pub(crate) fn comes_to(&mut self, step: &str, wanted: &str) {
        for _ in 0..40 {
            self.listed = None;
            self.order(None, Effect::ListPanes);
            while self.listed.is_none() && self.listen(EVENT) {}
            if self.listed.as_deref() == Some(wanted) {
                break;
            }
            self.listen(Span(100_000));
        }
        let listed = self.listed.take().unwrap_or_else(|| "no answer".to_owned());
        self.line(step, listed);
    }

    /// Looks at what is left of an agent until its process is gone, or it can be said that it will not be: tmux shows a
    /// pane dead once its terminal is closed, which an ending process does before it has ended.
    pub(crate) fn collects(&mut self, step: &str, role: &str) {
        let mut told = "no answer".to_owned();
        for _ in 0..40 {
            let effect = self.order(Some(role), self.collect(role));
            let settled = self.end_of(effect);
            told = shape::result(&settled);
            if !matches!(&settled, Ok(Fact::Collected(remains)) if remains.alive) {
                break;
            }
            self.listen(Span(100_000));
        }
        self.line(step, told);
    }

    /// Writes down what agents have reported: waits for one report.
    pub(crate) fn reports(&mut self, step: &str) {
        for _ in 0..100 {
            let items = self.stage.reports();
            if let Some(item) = items.first() {
                let Event::Reported { role, report, .. } = &item.happened.event else { break };
                let line = format!("{role}: {report:?}");
                self.line(step, line);
                return;
            }
            self.listen(Span(100_000));
        }
        self.line(step, "no report".to_owned());
    }

    /// Hands the project to the watches, as it stands.
    pub(crate) fn watch(&mut self) {
        let project = self.project();
        self.stage.watch(&project);
    }

    fn project(&self) -> Project {
        let roles = ROLES.iter().map(|name| {
            let mut role = Role::restored(RoleName((*name).to_owned()), RoleState::Working);
            let up = self.ups.get(*name);
            role.token = up.map(|_| self.token(name, self.epochs[*name]));
            role.process = up.and_then(|up| up.process);
            role.pane = up.map(|up| up.pane.clone());
            role.worktree = Some(Worktree { path: tree(name), branch: branch(name), ready: true });
            role
        });
        let spec = |name: &&str| RoleSpec {
            name: RoleName((*name).to_owned()),
            command: vec!["agent".to_owned()],
            claude_md: CLAUDE_MD.into(),
            env: BTreeMap::new(),
            progress: true,
            hooks: Hooks::None,
        };
        let (repo, base_sha) = self.stage.repo();
        let spec = Spec {
            title: "conformance".to_owned(),
            repo,
            base_sha,
            brief: "Build it.\n".into(),
            key: None,
            priority: 0,
            batch: None,
            roles: ROLES.iter().map(spec).collect(),
            resources: Vec::new(),
        };
        let (state, slug) = (ProjectState::Running, "p1-conf".to_owned());
        let mut project = Project::restored(ProjectId(1), Arc::new(spec), slug, state, Timestamp(0), roles.collect());
        let (name, token, server) = (SESSION.to_owned(), self.token("session", 1), self.server);
        project.session = Some(SessionRef { name, token, is: SessionIs::Live, server });
        project
    }

    /// Worktrees and files for all roles.
    pub(crate) fn furnish(&mut self) {
        for role in ROLES {
            for effect in [self.worktree(role), self.files(role)] {
                let effect = self.order(Some(role), effect);
                self.end_of(effect).expect("furnished");
            }
        }
    }

    /// The same, with the session, and agents that listen and are watched; what was heard until then is forgotten.
    pub(crate) fn up(&mut self) {
        self.furnish();
        let effect = self.order(None, self.session());
        self.end_of(effect).expect("a session");
        ROLES.iter().for_each(|role| self.stage.await_agent(role));
        self.watch();
        self.forget();
    }

    /// Waits until it is quiet, and forgets what was heard.
    pub(crate) fn forget(&mut self) {
        self.await_events(&[]);
        self.heard.clear();
    }

    pub(crate) fn await_agent(&mut self, role: &str) {
        self.stage.await_agent(role);
    }

    pub(crate) fn worktree(&self, role: &str) -> Effect {
        let (repo, base) = self.stage.repo();
        Effect::EnsureWorktree {
            repo,
            path: tree(role),
            branch: branch(role),
            base,
            park: "worktrees/parked".to_owned(),
        }
    }

    pub(crate) fn files(&self, role: &str) -> Effect {
        let file = |path: &str, way, content: &str| FileToWrite { path: path.to_owned(), way, content: content.into() };
        let files = vec![
            file("CLAUDE.md", Way::Exact, CLAUDE_MD),
            file(".orch/.gitignore", Way::Exact, "*\n"),
            file(".orch/brief.md", Way::Exact, "Build it.\n"),
        ];
        Effect::EnsureFiles { worktree: tree(role), files, park: "worktrees/parked".to_owned() }
    }

    fn look_of(role: &str) -> RoleLook {
        let files = vec!["CLAUDE.md".to_owned()];
        RoleLook { role: RoleName(role.to_owned()), worktree: tree(role), branch: branch(role), files }
    }

    pub(crate) fn look(&self, role: &str) -> Effect {
        Effect::Look { roles: vec![Self::look_of(role)] }
    }

    pub(crate) fn certify(&self) -> Effect {
        Effect::Certify { roles: ROLES.iter().map(|role| Self::look_of(role)).collect() }
    }

    pub(crate) fn preflight(&self) -> Effect {
        let (repo, base_sha) = self.stage.repo();
        let programs = self.stage.agent().into_iter().take(1).collect();
        Effect::Preflight { repo, base_sha, programs }
    }

    fn launch(&self, role: &str) -> Launch {
        let epoch = self.epochs[role];
        Launch {
            role: RoleName(role.to_owned()),
            project: ProjectId(1),
            epoch: Epoch(epoch),
            token: self.token(role, epoch),
            worktree: tree(role),
            claude_md: judge::pin_of(CLAUDE_MD.as_bytes()),
            stderr: self.stderr(role),
            again: false,
            argv: self.stage.agent(),
            env: BTreeMap::new(),
        }
    }

    fn stderr(&self, role: &str) -> String {
        format!("logs/{role}-e{}.stderr", self.epochs[role])
    }

    pub(crate) fn session(&self) -> Effect {
        let launches = ROLES.iter().map(|role| self.launch(role)).collect();
        Effect::EnsureSession { session: SESSION.to_owned(), token: self.token("session", 1), launches }
    }

    /// The next incarnation of a role, in the pane of the one before.
    pub(crate) fn respawn(&mut self, role: &str) -> Effect {
        let old = self.token(role, self.epochs[role]);
        *self.epochs.get_mut(role).expect("a role") += 1;
        self.respawn_over(role, old)
    }

    /// The same incarnation once more.
    pub(crate) fn respawn_again(&self, role: &str) -> Effect {
        self.respawn_over(role, self.token(role, self.epochs[role] - 1))
    }

    /// The next incarnation, over another one than there is.
    pub(crate) fn respawn_over_stranger(&mut self, role: &str) -> Effect {
        *self.epochs.get_mut(role).expect("a role") += 1;
        self.respawn_over(role, self.token("stranger", 1))
    }

    fn respawn_over(&self, role: &str, old: Token) -> Effect {
        Effect::Respawn {
            session: SESSION.to_owned(),
            session_token: self.token("session", 1),
            pane: self.ups.get(role).map(|up| up.pane.clone()),
            old_token: Some(old),
            launch: self.launch(role),
        }
    }

    fn pane(&self, role: &str) -> String {
        self.ups.get(role).map_or_else(|| "%999".to_owned(), |up| up.pane.clone())
    }

    pub(crate) fn brief(&self, role: &str, again: bool) -> Effect {
        self.brief_for(role, self.epochs[role], again)
    }

    /// For the incarnation before the one that is there.
    pub(crate) fn brief_before(&self, role: &str) -> Effect {
        self.brief_for(role, self.epochs[role] - 1, false)
    }

    fn brief_for(&self, role: &str, epoch: u32, again: bool) -> Effect {
        let (pane, token) = (self.pane(role), self.token(role, epoch));
        Effect::HandBrief { pane, token, line: "Read .orch/brief.md and begin.".to_owned(), again }
    }

    pub(crate) fn nudge(&self, role: &str) -> Effect {
        let (pane, token) = (self.pane(role), self.token(role, self.epochs[role]));
        Effect::Nudge { pane, token, line: "# Are you there?".to_owned() }
    }

    pub(crate) fn sample(&self, role: &str) -> Effect {
        let process = self.ups.get(role).and_then(|up| up.process).expect("it ran");
        Effect::Sample { pane: self.pane(role), process }
    }

    pub(crate) fn collect(&self, role: &str) -> Effect {
        let up = self.ups.get(role);
        Effect::Collect {
            session: SESSION.to_owned(),
            session_token: self.token("session", 1),
            pane: up.map(|up| up.pane.clone()),
            process: up.and_then(|up| up.process),
            stderr: self.stderr(role),
            server: self.server,
            started_at: None,
        }
    }

    pub(crate) fn end_session(&self) -> Effect {
        let tokens = ROLES.iter().map(|role| self.token(role, self.epochs[*role])).collect();
        Effect::EndSession { session: SESSION.to_owned(), token: self.token("session", 1), tokens }
    }

    /// What the session and its agents leave.
    pub(crate) fn end_remains(&self) -> Effect {
        let roles = ROLES.iter().map(|role| self.token(role, self.epochs[*role]));
        Effect::EndRemains { tokens: roles.chain([self.token("session", 1)]).collect() }
    }

    /// What one role's agent leaves.
    pub(crate) fn end_remains_of(&self, role: &str) -> Effect {
        Effect::EndRemains { tokens: vec![self.token(role, self.epochs[role])] }
    }
}
