//! A decision in the making: the project as it will be, with everything that led there.

use crate::domain::decision::{Decision, Transition};
use crate::domain::effect::{Effect, Ordered};
use crate::domain::event::{Happened, Source};
use crate::domain::failure::{FailureKind, Stage};
use crate::domain::fleet::{Fleet, Late};
use crate::domain::id::{EffectId, ProjectId, RoleName, Token};
use crate::domain::project::Project;
use crate::domain::signal::{Signal, What};
use crate::domain::state::{IllegalMove, ProjectEvent, RoleEvent};
use crate::domain::time::{Now, Span, Timestamp};
use rand::Rng;
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// What all parts of one decision share.
pub(super) struct Cursor<'a> {
    fleet: &'a Fleet,
    happened: &'a Happened,
    now: &'a Now,
    rng: Option<ChaCha8Rng>,
    next_effect: i64,
    /// Projects that have asked for a slot in this decision.
    asked: u32,
    out: Decision,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(fleet: &'a Fleet, happened: &'a Happened, now: &'a Now) -> Self {
        Self { fleet, happened, now, rng: None, next_effect: fleet.next_effect.0, asked: 0, out: Decision::default() }
    }

    pub(super) fn fleet(&self) -> &'a Fleet {
        self.fleet
    }

    /// A project as this decision has left it so far.
    pub(super) fn project(&self, id: ProjectId) -> Option<Arc<Project>> {
        let decided = self.out.projects.iter().rev().find(|project| project.id == id);
        decided.or_else(|| self.fleet.shared(id)).cloned()
    }
    /// What has been told in this decision.
    pub(super) fn told(&self) -> &[Signal] {
        &self.out.signals
    }

    pub(super) fn tell(&mut self, signal: Signal) {
        self.out.signals.push(signal);
    }

    pub(super) fn know(&mut self, tmux: crate::domain::fleet::Tmux) {
        self.out.tmux = Some(tmux);
    }

    pub(super) fn at(&self) -> Timestamp {
        self.now.at
    }

    pub(super) fn remember_strays(&mut self, strays: std::collections::BTreeMap<Token, Option<Timestamp>>) {
        self.out.strays = Some(strays);
    }

    pub(super) fn remember_late(&mut self, late: std::collections::BTreeMap<Token, Late>) {
        self.out.late = Some(late);
    }

    /// Orders a durable effect that no slot of the project waits for; the project may be over.
    pub(super) fn order_beside(&mut self, about: Signal, effect: Effect) -> EffectId {
        let id = self.take_id();
        let what = What::EffectIntended { effect_id: id, effect: effect.name().to_owned() };
        let (project, stage) = (about.project_id, Stage::Run);
        self.tell(Signal { what, ..about });
        let (source, seen_at) = (self.happened.source, self.happened.seen_at);
        self.out.effects.push(Ordered { id, project, role: None, stage, source, seen_at, effect });
        id
    }

    /// What is known of tmux, this decision included.
    pub(super) fn tmux(&self) -> &crate::domain::fleet::Tmux {
        self.out.tmux.as_ref().unwrap_or(&self.fleet.tmux)
    }

    /// Orders something that concerns the fleet as a whole.
    pub(super) fn order(&mut self, effect: Effect) {
        let id = self.take_id();
        let (source, seen_at) = (self.happened.source, self.happened.seen_at);
        let stage = Stage::Run;
        self.out.effects.push(Ordered { id, project: None, role: None, stage, source, seen_at, effect });
    }

    pub(super) fn finish(self) -> Decision {
        self.out
    }

    fn take_id(&mut self) -> EffectId {
        let id = EffectId(self.next_effect);
        self.next_effect += 1;
        id
    }

    /// The event's own stream of randomness: a function of the seed that came with it.
    pub(super) fn rng(&mut self) -> &mut ChaCha8Rng {
        let seed = self.now.seed;
        self.rng.get_or_insert_with(|| ChaCha8Rng::from_seed(seed))
    }
}

/// One project's part of a decision.
pub(super) struct Draft<'c, 'a> {
    cursor: &'c mut Cursor<'a>,
    /// The project as it will be.
    pub(super) p: Held,
    before: Arc<Project>,
}

/// A project that is copied when it is first changed: most that are looked at stay as they are.
pub(super) struct Held(Arc<Project>);

impl Deref for Held {
    type Target = Project;
    fn deref(&self) -> &Project {
        &self.0
    }
}

impl DerefMut for Held {
    fn deref_mut(&mut self) -> &mut Project {
        Arc::make_mut(&mut self.0)
    }
}

impl<'c, 'a> Draft<'c, 'a> {
    pub(super) fn new(cursor: &'c mut Cursor<'a>, project: Arc<Project>) -> Self {
        Self { cursor, before: Arc::clone(&project), p: Held(project) }
    }

    /// Hands the result over, if anything changed.
    pub(super) fn close(self) {
        let Held(after) = self.p;
        if Arc::ptr_eq(&after, &self.before) || after == self.before {
            return;
        }
        if !after.same_row(&self.before) {
            self.cursor.out.rows.insert(after.id);
        }
        self.cursor.out.projects.push(after);
    }

    pub(super) fn fleet(&self) -> &'a Fleet {
        self.cursor.fleet
    }

    /// Lines up for a slot, behind everybody who asked before, be it in the same moment; answers how many slots are taken
    /// or promised before its own.
    pub(super) fn line_up(&mut self) -> u32 {
        let asked = self.cursor.asked;
        self.cursor.asked += 1;
        let first = self.fleet().last_back().map_or(self.at(), |last| self.at().max(last + Span(1)));
        self.p.due_back = Some(first + Span(asked.into()));
        self.fleet().taken() + asked
    }

    pub(super) fn tmux_answers(&self) -> bool {
        matches!(self.cursor.tmux(), crate::domain::fleet::Tmux::Alive(_))
    }

    pub(super) fn at(&self) -> Timestamp {
        self.cursor.now.at
    }

    pub(super) fn source(&self) -> Source {
        self.cursor.happened.source
    }

    /// From the source's notice to this decision.
    pub(super) fn lag(&self) -> Span {
        self.at().since(self.cursor.happened.seen_at)
    }

    pub(super) fn rng(&mut self) -> &mut ChaCha8Rng {
        self.cursor.rng()
    }

    /// A new unguessable token.
    pub(super) fn token(&mut self) -> Token {
        let rng = self.cursor.rng();
        Token(format!("{:016x}{:016x}", rng.next_u64(), rng.next_u64()))
    }

    /// Moves the project, if that is legal, and tells; an illegal move is told as a defect and changes nothing.
    pub(super) fn step(&mut self, event: ProjectEvent, cause: Option<FailureKind>) -> bool {
        let since = self.p.state_since;
        let at = self.at();
        match self.p.take(event, at) {
            Ok(moved) => {
                self.cursor.out.transitions.push(Transition::Project(self.p.id, moved));
                let after = self.at().since(since);
                let reason = self.p.reason;
                self.tell(What::ProjectMoved { from: moved.from(), to: moved.to(), cause, reason, after });
                true
            }
            Err(refused) => self.refuse(&refused),
        }
    }

    /// Moves a role, likewise.
    pub(super) fn role_step(&mut self, index: usize, event: RoleEvent) -> bool {
        let Some(role) = self.p.roles.get_mut(index) else { return false };
        match role.take(event) {
            Ok(moved) => {
                if moved.from() != moved.to() {
                    let name = role.name.clone();
                    self.cursor.out.transitions.push(Transition::Role(self.p.id, name, moved));
                    self.tell_role(index, What::RoleMoved { from: moved.from(), to: moved.to() });
                }
                true
            }
            Err(refused) => self.refuse(&refused),
        }
    }

    fn refuse(&mut self, refused: &IllegalMove) -> bool {
        self.tell(What::MoveRefused { refused: refused.to_string() });
        false
    }

    pub(super) fn tell(&mut self, what: What) {
        let signal = Signal::project(&self.p, what);
        self.cursor.out.signals.push(signal);
    }

    pub(super) fn tell_role(&mut self, index: usize, what: What) {
        let signal = Signal::role(&self.p, index, what);
        self.cursor.out.signals.push(signal);
    }

    /// Orders an effect for the whole project; it is busy until that settles.
    pub(super) fn order(&mut self, effect: Effect) {
        let id = self.push(None, effect);
        self.p.busy = Some(id);
    }

    /// Orders an effect for one role; the role is busy until that settles.
    pub(super) fn order_role(&mut self, index: usize, effect: Effect) {
        let id = self.push(Some(index), effect);
        if let Some(role) = self.p.roles.get_mut(index) {
            role.busy = Some(id);
        }
    }

    /// Orders a look, which may run beside other effects: for one role, or for all.
    pub(super) fn order_look(&mut self, index: Option<usize>, effect: Effect) {
        let id = self.push(index, effect);
        match index.and_then(|index| self.p.roles.get_mut(index)) {
            Some(role) => role.looking = Some(id),
            None => self.p.looking = Some(id),
        }
    }

    /// Orders a look at what is left of a role's agent, which waits for nothing that is under way for the role.
    pub(super) fn order_collect(&mut self, index: usize, effect: Effect) {
        let id = self.push(Some(index), effect);
        if let Some(role) = self.p.roles.get_mut(index) {
            role.collecting = Some(id);
        }
    }

    /// Orders a sample of one role, which runs beside everything else.
    pub(super) fn order_sample(&mut self, index: usize, effect: Effect) {
        let (id, at) = (self.push(Some(index), effect), self.at());
        if let Some(role) = self.p.roles.get_mut(index) {
            role.vigil.sampling = Some(id);
            role.vigil.asked = Some(at);
        }
    }

    fn push(&mut self, index: Option<usize>, effect: Effect) -> EffectId {
        let id = self.cursor.take_id();
        if effect.is_durable() {
            let what = What::EffectIntended { effect_id: id, effect: effect.name().to_owned() };
            match index {
                Some(index) => self.tell_role(index, what),
                None => self.tell(what),
            }
        }
        let role: Option<RoleName> = index.and_then(|index| self.p.roles.get(index)).map(|role| role.name.clone());
        let stage = self.p.stage();
        let (source, seen_at) = (self.cursor.happened.source, self.cursor.happened.seen_at);
        self.cursor.out.effects.push(Ordered { id, project: Some(self.p.id), role, stage, source, seen_at, effect });
        id
    }
}
