//! The people of a simulated run: clients who hand projects over, and operators: what they ask for, through the same
//! table of requests that `orch` writes to; and who believes to know better and writes into a row himself.
//!
//! During the faults they ask what the schedule says, blindly or as soon as it makes sense. Afterwards, if the run is
//! attended, one looks after the fleet every minute and lets go on what waits for a person.

use super::claims::spec;
use super::run::{Do, Sim};
use crate::setting::Asked;
use crate::witness::Fact;
use orchestrator::domain::event::{Event, Source};
use orchestrator::domain::id::{ProjectId, RoleName};
use orchestrator::domain::request::RequestKind;
use orchestrator::domain::state::{ProjectState, SuspendReason};
use orchestrator::store::{ProjectRow, Stance, StoreError};
use rusqlite::ErrorCode;

/// How often somebody looks who waits until a request makes sense, in microseconds.
const LOOK_US: u64 = 5_000_000;
/// How often the fleet is looked after once the world is healed.
const ROUND_US: u64 = 60_000_000;
/// How often an operator asks the same of one project after that.
const ASKS_MAX: u32 = 4;

impl Sim {
    /// A client hands a project over.
    pub(super) fn enqueue(&mut self, project: u32) {
        let place = self.plan.schedule.setting.place(project);
        let priority = place.priority;
        let spec = spec(project, self.plan.schedule.roles, place);
        let now = self.now();
        // What a client commits passes no gate.
        self.read_at = None;
        match self.bank.client.enqueue(&spec, &now) {
            Ok(accepted) => {
                self.submitted.insert(project, accepted.id);
                let roles = spec.roles.iter().map(|role| role.name.clone()).collect();
                self.world.borrow_mut().witness(Fact::Accepted { project: accepted.id, roles });
                self.world.borrow_mut().witness(Fact::Ranked { project: accepted.id, priority });
                self.touch_spool();
            }
            Err(error) => self.outcome.broke = Some(format!("enqueue: {error}")),
        }
    }

    /// The time has come to say what an agent is to say.
    pub(super) fn say(&mut self, place: usize) {
        let Some(said) = self.plan.schedule.setting.said.get(place).copied() else { return };
        let Some(project) = self.submitted.get(&said.project).copied() else { return };
        self.world.borrow_mut().says(project, &RoleName(format!("role-{}", said.role)), said.word);
    }

    /// The time of a request has come.
    pub(super) fn ask(&mut self, place: usize) {
        let Some(asked) = self.plan.schedule.setting.asked.get(place).copied() else { return };
        let id = asked.project.and_then(|project| self.submitted.get(&project).copied());
        let there = asked.project.is_none() || id.is_some();
        if there && (!asked.looks || self.makes_sense(asked, id)) {
            self.request(id, asked.kind);
            return;
        }
        let again = self.world.borrow().at + LOOK_US;
        if asked.looks && again < self.healed_at() {
            self.at(again, Do::Ask(place));
        }
    }

    /// When the world is healed, on the machine's clock.
    pub(super) fn healed_at(&self) -> u64 {
        (self.plan.schedule.duration_ms - self.plan.schedule.control_ms) * 1_000
    }

    /// Whether `orch status` gives a reason for it: it could be done, and a retry is of what was not completed.
    fn makes_sense(&self, asked: Asked, id: Option<ProjectId>) -> bool {
        let Some(id) = id else { return self.fleet_is_open() };
        let Ok(Some(Stance { state, breaker, waits })) = self.bank.client.stance(id) else { return false };
        let wanted = asked.kind != RequestKind::Retry || state != ProjectState::Completed;
        wanted && asked.kind.refusal(state, &breaker, waits).is_none()
    }

    fn fleet_is_open(&self) -> bool {
        self.bank.client.is_fleet_breaker_open().unwrap_or(false)
    }

    fn request(&mut self, project: Option<ProjectId>, kind: RequestKind) {
        let now = self.now();
        match self.bank.client.request(project, kind, &now) {
            Ok(request) => {
                self.world.borrow_mut().witness(Fact::Asked { request, project, kind });
                self.touch_spool();
            }
            Err(error) => self.outcome.broke = Some(format!("request: {error}")),
        }
    }

    /// Somebody writes into a project's row how it stands, as was done to heal project 99. It took effect if the database
    /// has refused it, and if it has not: then the row and its journal differ.
    pub(super) fn forge(&mut self, project: ProjectId, state: ProjectState) -> bool {
        let words = (project.0, state.name());
        let written = self.bank.side_door().and_then(|door| Ok(door.execute(include_str!("forged.sql"), words)?));
        let refused = |error: &StoreError| {
            let StoreError::Sqlite(error) = error else { return false };
            error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation)
        };
        match written {
            Ok(0) => self.came_to_nothing("it stands so already"),
            Err(error) if !refused(&error) => self.came_to_nothing("the database cannot be written"),
            Ok(_) | Err(_) => return true,
        }
        false
    }

    /// Whatever a client has written, it tells whoever runs.
    pub(super) fn touch_spool(&mut self) {
        let lives: Vec<usize> = self.hosts.iter().map(|host| host.life).collect();
        let mut world = self.world.borrow_mut();
        for life in lives {
            let after = world.takes(100, 2_000);
            world.tell(life, after, Source::Spool, Event::SpoolTouched);
        }
    }

    /// An operator looks after the fleet: what only a person can let go on goes on.
    pub(super) fn round(&mut self) {
        let rows = self.bank.client.project_rows(None).unwrap_or_default();
        for row in rows {
            let times = self.rounds.get(&row.id).copied().unwrap_or(0);
            if let Some(kind) = wanted(&row).filter(|_| times < ASKS_MAX) {
                self.rounds.insert(row.id, times + 1);
                self.request(Some(row.id), kind);
            }
        }
        if self.fleet_is_open() {
            self.request(None, RequestKind::BreakerReset);
        }
        let next = self.world.borrow().at + ROUND_US;
        if next < self.plan.schedule.duration_ms * 1_000 {
            self.at(next, Do::Round);
        }
    }
}

/// What a person would ask for a project that stands like this.
fn wanted(row: &ProjectRow) -> Option<RequestKind> {
    let reason = row.reason.as_deref().and_then(SuspendReason::from_name);
    let rests = matches!(reason, Some(SuspendReason::Operator | SuspendReason::NeedsOperator));
    (rests && !row.waits).then_some(RequestKind::Resume)
}
