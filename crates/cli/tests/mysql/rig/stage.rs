//! Two hosts of the lab with a container on each, and a `MariaDB` in one of them.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};

use byway_lab::{Engines, Lab, Topology};
use tempfile::TempDir;

use crate::common::{Ear, PATIENCE, attempt, quiet_lab, run};

/// Where the clients are.
pub const CLIENTS: &str = "c41";
/// Where the server is.
pub const SERVER: &str = "c42";
/// The server's addresses.
pub const SERVER_V4: &str = "172.42.0.2";
/// The same, of the other family.
pub const SERVER_V6: &str = "fd00:172:42::2";
/// The port that everybody knows, and the other one on which the server listens as well.
pub const PORT: u16 = 3306;
/// See [`PORT`].
pub const ODD_PORT: u16 = 3307;
/// Who may come, all with the password of `client.h`, and what is there.
const INITIAL: &str = include_str!("../initial.sql");
/// The root of the server, in its container. All that it writes is in memory, and gone with the lab.
const ROOT: &str = "/run/mariadb/root";
/// Its general log.
const LOG: &str = "/run/mariadb/root/run/general.log";
/// What it complains about.
const ERRORS: &str = "/run/mariadb/root/run/error.log";

/// How the two hosts are connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Road {
    /// As they are.
    Plain,
    /// The first host loses one packet in thirty that it should pass on.
    Lossy,
}

/// The lab with the server in it; both end with it.
pub struct Stage {
    // Before the folder, so that nobody writes there any more when it is removed.
    pub lab: Lab,
    /// Where clients, captures and secrets are.
    pub folder: TempDir,
    server: Child,
}

impl Stage {
    /// Raises the lab and starts the server.
    pub fn raise(road: Road) -> Self {
        let lab = quiet_lab(&Topology::two_hosts());
        lay(&lab, road);
        let server = start(&lab);
        let mut stage = Self { lab, folder: tempfile::tempdir().unwrap(), server };
        stage.await_server();
        stage
    }

    /// From now on each segment is a frame of its own, as between machines: nobody hands over larger ones.
    pub fn with_small_frames(&self) {
        for node in [CLIENTS, SERVER] {
            run(&self.lab, node, "ip link set dev eth0 gso_max_segs 1");
        }
    }

    /// How long the log is.
    pub fn log_bytes(&self) -> u64 {
        run(&self.lab, SERVER, &format!("stat -c %s {LOG}")).trim().parse().unwrap()
    }

    /// The log behind its first `skipped` bytes.
    pub fn log_from(&self, skipped: u64) -> Vec<u8> {
        let out = attempt(&self.lab, SERVER, &format!("tail -c +{} {LOG}", skipped + 1));
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        out.stdout
    }

    /// A text in a character set, as the server itself understands it.
    pub fn decode(&self, text: &[u8], charset: &str) -> String {
        let bytes = text.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
        let question = format!("select convert(convert(x'{bytes}' using {charset}) using utf8mb4)");
        let script = format!(
            "chroot {ROOT} mariadb --no-defaults --skip-column-names --raw --batch --default-character-set=utf8mb4 \
                 --skip-ssl --host=127.0.0.1 --port={PORT} --user=byway --password=not-for-the-wire -e \"{question}\""
        );
        let mut answer = run(&self.lab, SERVER, &script);
        assert_eq!(answer.pop(), Some('\n'), "{question}: {answer}");
        answer
    }

    /// Connections that come before are not refused: they wait in the backlog until it is ready.
    fn await_server(&mut self) {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
        let (lab, server) = (&self.lab, &mut self.server);
        Ear::open(lab, SERVER).until("MariaDB accepts connections", || {
            if server.try_wait().unwrap().is_some() {
                let words = attempt(lab, SERVER, &format!("tail -n 20 {ERRORS}"));
                panic!("MariaDB has ended: {}", String::from_utf8_lossy(&words.stdout));
            }
            let connect = || TcpStream::connect_timeout(&address, PATIENCE);
            lab.inside(SERVER, connect).unwrap().map_err(|error| error.to_string())
        });
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // The lab's end is the server's, but its starter is our child.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Both hosts pass packets on to each other's containers.
fn lay(lab: &Lab, road: Road) {
    for (host, other) in [("docker41", 42), ("docker42", 41)] {
        let routes = format!(
            "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
             ip route replace 172.{other}.0.0/16 via 192.168.199.{other}
             ip route replace fd00:172:{other}::/64 via fd00:199::{other}"
        );
        run(lab, host, &routes);
    }
    until_passable(lab);
    if road == Road::Lossy {
        let rules = "add table inet loss
             add chain inet loss forward { type filter hook forward priority filter; }
             add rule inet loss forward meta l4proto tcp numgen random mod 30 < 1 drop";
        run(lab, "docker41", &format!("nft -f - <<'END'\n{rules}\nEND"));
    }
}

/// From here on links are up and neighbours known.
fn until_passable(lab: &Lab) {
    for address in [SERVER_V4, SERVER_V6] {
        run(lab, CLIENTS, &format!("ping -n -c1 -i0.2 -w20 {address}"));
    }
}

/// Starts the server of the root that the shop's image is made of, with its own data, over which it writes.
fn start(lab: &Lab) -> Child {
    let root = Engines::of_this_user().unwrap().mariadb().unwrap_or_else(|error| panic!("{error:#}"));
    run(lab, SERVER, &furnish(&root));
    let mut command = lab.command(SERVER, "chroot");
    command.args([ROOT, "/usr/sbin/mariadbd", "--no-defaults", "--user=root"]).args([
        format!("--port={PORT}"),
        format!("--extra-port={ODD_PORT}"),
        // So that a process list tells whose server it is.
        format!("--report-host={}", lab.name()),
    ]);
    command.args([
        "--extra-max-connections=100",
        "--max-connections=200",
        "--back-log=200",
        "--skip-name-resolve",
        "--socket=/run/mariadb.sock",
        "--pid-file=/run/mariadb.pid",
        "--log-error=/run/error.log",
        "--general-log=1",
        "--general-log-file=/run/general.log",
        "--init-file=/initial.sql",
        "--ssl-cert=/certificate.pem",
        "--ssl-key=/key.pem",
        "--local-infile=1",
        "--max-allowed-packet=128M",
        "--innodb-flush-log-at-trx-commit=0",
        "--innodb-flush-method=nosync",
    ]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// An overlay over the root, in memory; a certificate made on the spot.
fn furnish(root: &Path) -> String {
    let root = root.display();
    format!(
        "mkdir /run/mariadb; mount -t tmpfs -o size=4g tmpfs /run/mariadb
         cd /run/mariadb; mkdir upper work root
         mount -t overlay -o lowerdir={root},upperdir=upper,workdir=work overlay root
         mount --bind /dev root/dev; mount -t tmpfs tmpfs root/tmp
         openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=db \
             -keyout root/key.pem -out root/certificate.pem 2>&1
         cat > root/initial.sql <<'END'\n{INITIAL}\nEND"
    )
}
