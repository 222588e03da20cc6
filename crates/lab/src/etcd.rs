//! Real members of an etcd cluster on this machine's loopback, for tests: they end with who made them.
//!
//! Each cluster has a loopback address of its own, so no two ever meet, and a member that is started again finds its
//! ports free.

mod certificates;

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::{Engines, Lab};
pub use certificates::Certificates;

/// How long a member may take until it serves: it is below a second, unless the machine is busy with other things.
const START_TIME: Duration = Duration::from_mins(1);
/// How often it is looked whether a member that does not serve yet has ended.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How much of a member's log is told when it does not start, in bytes.
const LOG_BYTES_TOLD: usize = 2000;

/// Members of one cluster. They are killed when this is dropped, and by the kernel when the thread that started them is
/// gone.
#[derive(Debug)]
pub struct Members {
    all: Vec<Member>,
    home: Home,
    certificates: Option<Certificates>,
    arguments: Vec<String>,
    // Last: it is removed when nobody writes there any more.
    folder: TempDir,
}

/// Where members run.
#[derive(Debug)]
enum Home {
    /// On this machine's loopback.
    Here,
    /// In a node of a lab, by `byway lab exec`.
    Node { byway: PathBuf, lab: String, node: String },
}

impl Home {
    fn command(&self, name: &str) -> Command {
        match self {
            Self::Here => Command::new(program(name)),
            Self::Node { byway, lab, node } => {
                let mut command = Command::new(byway);
                command.args(["lab", "exec", "--name", lab, node, "--"]).arg(program(name));
                command
            }
        }
    }
}

#[derive(Debug)]
struct Member {
    client: String,
    peer: String,
    process: Option<Process>,
}

/// A process that does not outlive us.
#[derive(Debug)]
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already; it is ours either way.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Members {
    /// Starts a cluster, and waits until it serves. `arguments` are told to each etcd on top.
    ///
    /// # Errors
    /// When etcd or openssl is not there, or etcd does not start; what it said is told.
    pub fn start(count: usize, tls: Tls, arguments: &[&str]) -> anyhow::Result<Self> {
        let address = own_address();
        let ports = free_ports(address, count)?;
        Self::start_at(Home::Here, address.into(), &ports, tls, arguments)
    }

    /// Starts a cluster in a node of a lab, at an address of that node; the members' clients come to the ports 2379, 2381
    /// and so on.
    ///
    /// # Errors
    /// As [`Members::start`].
    pub fn start_in(
        lab: &Lab,
        node: &str,
        address: IpAddr,
        count: u16,
        tls: Tls,
        arguments: &[&str],
    ) -> anyhow::Result<Self> {
        let home = Home::Node { byway: lab.byway.clone(), lab: lab.name().to_owned(), node: node.to_owned() };
        let ports: Vec<[u16; 2]> = (0..count).map(|nth| [2379 + 2 * nth, 2380 + 2 * nth]).collect();
        Self::start_at(home, address, &ports, tls, arguments)
    }

    fn start_at(
        home: Home,
        address: IpAddr,
        ports: &[[u16; 2]],
        tls: Tls,
        arguments: &[&str],
    ) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("byway-etcd-").tempdir().context("make a folder")?;
        let certificates = match tls {
            Tls::Without => None,
            Tls::With => Some(Certificates::make(&folder.path().join("tls"), address)?),
        };
        let url = |scheme: &str, port: u16| format!("{scheme}://{}", SocketAddr::new(address, port));
        let scheme = if certificates.is_some() { "https" } else { "http" };
        let member = |ports: &[u16; 2]| Member {
            client: url(scheme, ports[0]),
            peer: url("http", ports[1]),
            process: None,
        };
        let all = ports.iter().map(member).collect();
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let mut cluster = Self { all, home, certificates, arguments, folder };
        cluster.start_all()?;
        Ok(cluster)
    }

    /// Where the members listen for clients, as URLs.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        self.all.iter().map(|member| member.client.clone()).collect()
    }

    /// The files of TLS.
    ///
    /// # Panics
    /// In a cluster without TLS.
    #[must_use]
    #[expect(clippy::expect_used, reason = "whoever asks has started it with TLS")]
    pub fn certificates(&self) -> &Certificates {
        self.certificates.as_ref().expect("a cluster with TLS")
    }

    /// Starts those members that do not run, at once, and waits until they serve.
    ///
    /// # Errors
    /// When one does not start.
    pub fn start_all(&mut self) -> anyhow::Result<()> {
        let missing: Vec<usize> =
            (0..self.all.len()).filter(|&which| self.all[which].process.is_none()).collect();
        let mut ears = Vec::new();
        for &which in &missing {
            ears.push(self.spawn(which)?);
        }
        missing.iter().zip(ears).try_for_each(|(&which, ear)| self.wait_until_ready(which, &ear))
    }

    /// Kills a member, as a power cut would.
    pub fn kill(&mut self, which: usize) {
        self.all[which].process = None;
    }

    /// Kills all members.
    pub fn kill_all(&mut self) {
        (0..self.all.len()).for_each(|which| self.kill(which));
    }

    /// Stops a member without its noticing; it keeps its connections and says nothing more.
    ///
    /// # Errors
    /// When it does not run.
    pub fn freeze(&self, which: usize) -> anyhow::Result<()> {
        let process = self.all[which].process.as_ref().context("the member does not run")?;
        kill(Pid::from_raw(process.0.id().cast_signed()), Signal::SIGSTOP).context("stop a member")
    }

    /// Which member leads.
    ///
    /// # Errors
    /// When none does.
    pub fn leader(&self) -> anyhow::Result<usize> {
        let answer = self.ctl(&["endpoint", "status", "--write-out=json"])?;
        let answer: serde_json::Value = serde_json::from_str(&answer).context("read etcdctl's answer")?;
        let leads = |status: &&serde_json::Value| {
            let status = &status["Status"];
            status["leader"] == status["header"]["member_id"]
        };
        let leader = answer.as_array().into_iter().flatten().find(leads).context("no member leads")?;
        let is_it = |member: &Member| leader["Endpoint"] == *member.client;
        self.all.iter().position(is_it).context("the leader is none of ours")
    }

    /// Runs etcdctl with the members that run, and tells what it printed.
    ///
    /// # Errors
    /// When it says that something failed.
    pub fn ctl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let running = self.all.iter().filter(|member| member.process.is_some());
        let endpoints: Vec<&str> = running.map(|member| member.client.as_str()).collect();
        let mut command = self.home.command("etcdctl");
        command
            .env("ETCDCTL_API", "3")
            .arg("--command-timeout=30s")
            .arg("--endpoints")
            .arg(endpoints.join(","));
        if let Some(certificates) = &self.certificates {
            let files = [("--cacert", &certificates.ca), ("--cert", &certificates.client.0)];
            command.args(files.iter().flat_map(|(option, path)| [option.as_ref(), path.as_os_str()]));
            command.arg("--key").arg(&certificates.client.1);
        }
        let output =
            command.args(arguments).output().context("run etcdctl (`cargo xtask test` unpacks it)")?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(
            output.status.success(),
            "etcdctl {arguments:?}: {said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(said)
    }

    /// Starts one member; where it says that it is ready is returned.
    fn spawn(&mut self, which: usize) -> anyhow::Result<UnixDatagram> {
        let socket = self.folder.path().join(format!("ready-{which}"));
        let _ = std::fs::remove_file(&socket);
        let ear = UnixDatagram::bind(&socket).context("listen to a member")?;
        ear.set_read_timeout(Some(LOOK_EVERY)).context("listen to a member")?;
        let log = File::options().create(true).append(true).open(self.log(which)).context("open a log")?;
        let mut command = self.home.command("etcd");
        command.args(self.words(which)).args(&self.arguments);
        command.env_clear().envs(std::env::vars().filter(|(name, _)| !name.starts_with("ETCD")));
        command.env("NOTIFY_SOCKET", &socket).stdin(Stdio::null());
        command.stdout(log.try_clone().context("open a log")?).stderr(log);
        // SAFETY: one system call, which is allowed between fork and exec.
        unsafe {
            command.pre_exec(|| Ok(nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?));
        }
        let child = command.spawn().context("start etcd (`cargo xtask test` unpacks it)")?;
        self.all[which].process = Some(Process(child));
        Ok(ear)
    }

    fn wait_until_ready(&mut self, which: usize, ear: &UnixDatagram) -> anyhow::Result<()> {
        let until = Instant::now() + START_TIME;
        let mut said = [0; 256];
        while Instant::now() < until {
            if ear.recv(&mut said).is_ok_and(|count| said[..count].starts_with(b"READY=1")) {
                return Ok(());
            }
            let process = self.all[which].process.as_mut();
            if let Some(status) = process.and_then(|process| process.0.try_wait().ok().flatten()) {
                bail!("member {which} of etcd ended with {status}: {}", self.last_words(which));
            }
        }
        bail!("member {which} of etcd does not serve: {}", self.last_words(which))
    }

    fn words(&self, which: usize) -> Vec<String> {
        let Member { client, peer, .. } = &self.all[which];
        let named = |(which, member): (usize, &Member)| format!("m{which}={}", member.peer);
        let cluster: Vec<String> = self.all.iter().enumerate().map(named).collect();
        let data = self.folder.path().join(format!("data-{which}"));
        let mut words = vec![
            format!("--name=m{which}"),
            format!("--data-dir={}", data.display()),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster={}", cluster.join(",")),
            "--logger=zap".to_owned(),
        ];
        if let Some(Certificates { ca, server, .. }) = &self.certificates {
            words.extend([
                "--client-cert-auth".to_owned(),
                format!("--trusted-ca-file={}", ca.display()),
                format!("--cert-file={}", server.0.display()),
                format!("--key-file={}", server.1.display()),
            ]);
        }
        words
    }

    fn log(&self, which: usize) -> PathBuf {
        self.folder.path().join(format!("log-{which}"))
    }

    fn last_words(&self, which: usize) -> String {
        let log = std::fs::read(self.log(which)).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(LOG_BYTES_TOLD)..]).into_owned()
    }

    /// A folder that goes with the cluster.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// Whether the members want TLS, with a certificate of each client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// They do.
    With,
    /// They speak in the clear.
    Without,
}

/// Where a program of etcd is: where `cargo xtask test` unpacks it, or in the path.
fn program(name: &str) -> PathBuf {
    let unpacked = Engines::of_this_user().map(|cache| cache.folder().join("programs/usr/bin").join(name));
    unpacked.ok().filter(|path| path.is_file()).unwrap_or_else(|| name.into())
}

/// An address of `127.0.0.0/8` that no other process and no other cluster of ours has: made of the number of the process.
fn own_address() -> Ipv4Addr {
    /// So many clusters of one process have addresses of their own.
    const CLUSTERS_MAX: u32 = 4;
    /// Where `127.0.x.y` ends, which others use.
    const FIRST: u32 = 1 << 16;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let nth = NEXT.fetch_add(1, Ordering::Relaxed) % CLUSTERS_MAX;
    let number = std::process::id().wrapping_mul(CLUSTERS_MAX).wrapping_add(nth);
    Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 0, 0, 0)) + FIRST + number % ((1 << 24) - 2 * FIRST))
}

/// Two ports for each of so many members: for clients, for each other.
fn free_ports(address: Ipv4Addr, members: usize) -> anyhow::Result<Vec<[u16; 2]>> {
    let port = |_| TcpListener::bind((address, 0)).context("find a free port");
    // All are held until all are found, so none is found twice.
    let held = (0..2 * members).map(port).collect::<anyhow::Result<Vec<_>>>()?;
    let ports = held.iter().map(|held| Ok(held.local_addr()?.port())).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(ports.chunks_exact(2).map(|pair| [pair[0], pair[1]]).collect())
}
