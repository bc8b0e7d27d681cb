//! The machine starts anew: every process ends, the boot has another name and the monotonic clock begins again.

use super::kernel::{Process, Program};
use super::world::World;
use crate::witness::Fact;
use orchestrator::domain::time::{Anchor, Span};

impl World {
    /// Everything on the machine ends at once.
    pub fn reboot(&mut self) {
        let server = self.server.take();
        self.take_connections();
        let ended: Vec<Process> = self.kernel.processes().cloned().collect();
        for process in ended {
            self.ended_in_reboot(&process);
        }
        if let Some(server) = server {
            for (name, session) in server.sessions() {
                self.witness(Fact::SessionGone { name: name.clone(), token: session.token.clone() });
            }
        }
        let (now, wall) = (self.now(), self.kernel.wall(self.at));
        self.kernel.reboot(self.at);
        let wall_us = self.kernel.wall(self.at);
        let away = wall_us.saturating_sub(wall).unsigned_abs();
        let at = now + Span(away);
        self.anchor = Anchor { boot_id: self.kernel.boot_id(), mono_us: 0, at, wall_us, told: at };
        self.jobs.clear();
        self.witness(Fact::Rebooted);
    }

    fn ended_in_reboot(&mut self, process: &Process) {
        match process.program {
            Program::Agent(number) => {
                let Some(agent) = self.agents.get_mut(number) else { return };
                agent.plan += 1;
                let (incarnation, process) = (agent.incarnation.clone(), process.id);
                self.witness(Fact::AgentGone { incarnation, process });
            }
            Program::Child(_) => {
                let Some(mark) = &process.mark else { return };
                self.witness(Fact::ChildGone { project: mark.project, process: process.id });
            }
            Program::Server => self.witness(Fact::ServerGone { server: process.id }),
            Program::Git | Program::Stranger => {}
        }
    }
}
