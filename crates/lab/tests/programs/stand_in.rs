//! Stands in for the `byway` command in the tests of this crate: the lab's hidden ends, and agents that do
//! next to nothing.

use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use byway_lab::{AgentState, Lab, Options, Topology};

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["lab", "hold", name] => byway_lab::hold(name),
        ["lab", "exec", "--name", name, node, "--", program, ..] => {
            let rest: Vec<_> = arguments[7..].iter().map(Into::into).collect();
            byway_lab::exec(&byway_lab::Holder::find(name)?, node, &program.into(), &rest)
        }
        ["make", "and-wait"] => make_and_wait(),
        ["make", "and-look"] => make_and_look(),
        ["make", "engines"] => make_engines(),
        ["agent", "ready"] => be_ready(),
        ["agent", "fails"] => bail!("no agent of mine"),
        ["agent", "never"] => wait_for_ever(),
        _ => bail!("no stand-in for {arguments:?}"),
    }
}

fn make_and_wait() -> Result<ExitCode> {
    let options = Options::private(&std::env::current_exe()?).without_agents();
    let lab = Lab::up(&Topology::two_hosts(), &options, |_| {})?;
    say(lab.name())?;
    wait_for_ever()
}

fn make_and_look() -> Result<ExitCode> {
    let program = std::env::current_exe()?;
    let agent = [program.to_string_lossy().into_owned(), "agent".into(), "ready".into()];
    let lab = Lab::up(&Topology::two_hosts(), &Options::private(&program).with_agent(agent), |_| {})?;
    say(lab.name())?;
    let agents = lab.status()?.nodes.into_iter().filter_map(|node| node.agent);
    say(&format!("agents ready: {}", agents.filter(|agent| agent.state == AgentState::Ready).count()))?;
    for (from, to) in [("docker41", "192.168.199.42"), ("docker41", "fd00:199::42"), ("c41", "172.41.0.1")] {
        let ping = lab.command(from, "ping").args(["-n", "-c1", "-W1", to]).output()?;
        say(&format!("{from} {} {to}", if ping.status.success() { "reaches" } else { "does not reach" }))?;
    }
    lab.down()?;
    say("down")?;
    Ok(ExitCode::SUCCESS)
}

fn make_engines() -> Result<ExitCode> {
    let topology = Topology::two_hosts().with_engines(&["28.5".parse()?]);
    Lab::up(&topology, &Options::private(&std::env::current_exe()?).without_agents(), |_| {})?.down()?;
    Ok(ExitCode::SUCCESS)
}

fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

fn be_ready() -> Result<ExitCode> {
    let inventory = std::fs::read_to_string("/etc/byway/inventory.toml").context("read the inventory")?;
    let own = std::fs::read_to_string("/etc/byway/byway.toml").context("read byway.toml")?;
    std::fs::create_dir_all("/var/lib/byway").context("make /var/lib/byway")?;
    std::fs::write("/var/lib/byway/state", "kept").context("write to /var/lib/byway")?;
    std::fs::write("/etc/iproute2/rt_protos.d/stand-in.conf", "").context("write to /etc/iproute2")?;
    let path = std::env::var("NOTIFY_SOCKET").context("NOTIFY_SOCKET")?;
    let said =
        format!("STATUS={} knows {} hosts\nREADY=1\n", own.trim(), inventory.matches("[[host]]").count());
    UnixDatagram::unbound()?.send_to(said.as_bytes(), path).context("notify")?;
    wait_for_ever()
}

fn wait_for_ever() -> Result<ExitCode> {
    loop {
        std::thread::park();
    }
}
