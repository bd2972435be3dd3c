//! The ports of this machine that Longshore needs, and what to do when one is taken.

use std::{
    io,
    net::{Ipv4Addr, TcpListener},
};

use anyhow::{Context, Result, bail};

#[derive(Clone, Debug)]
pub(crate) struct Ports {
    pub(crate) api: u16,
    pub(crate) join: u16,
    pub(crate) introspection: u16,
    pub(crate) poll: u16,
}

impl Ports {
    pub(crate) fn new(api: u16, agent: u16) -> Result<Ports> {
        let after = |port: u16, by: u16| {
            port.checked_add(by).with_context(|| format!("{port} is too high: its neighbours too"))
        };
        Ok(Ports { api, join: after(api, 1)?, introspection: agent, poll: after(agent, 2)? })
    }

    pub(crate) fn are_free(&self) -> Result<()> {
        let needed = [
            (self.api, "the coordinator's API", "PORT=9420"),
            (self.join, "joining agents", "PORT=9420"),
            (self.introspection, "the agent's introspection", "AGENT_PORT=52678"),
            (self.poll, "the agent's poll endpoint", "AGENT_PORT=52678"),
        ];
        for (port, purpose, way_out) in needed {
            match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => bail!(
                    "port {port}, for {purpose}, is in use: `ss -ltnp 'sport = :{port}'` shows by \
                     whom. Stop that program, or run `{way_out} make run`"
                ),
                Err(error) => {
                    return Err(error).with_context(|| format!("port {port}, for {purpose}"));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_told_with_what_to_do() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let ports = Ports { api: port, join: 0, introspection: 0, poll: 0 };
        let said = ports.are_free().unwrap_err().to_string();
        assert!(said.contains(&port.to_string()) && said.contains("PORT=9420 make run"), "{said}");
    }
}
