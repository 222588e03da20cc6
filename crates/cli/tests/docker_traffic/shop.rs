//! A project of compose on two hosts: a web container on one asks a database on the other, and is asked from outside.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;

use byway_lab::{Engines, Lab};

use crate::common::{Ear, PATIENCE, byway, lab as up, run, write};
use crate::networks::On;

/// What is run on which host. The database lets nobody in who is not seen with an address of the first host's subnet.
const PROJECT: [(&str, &str); 2] =
    [("docker41", include_str!("shop/web.yaml")), ("docker42", include_str!("shop/db.yaml"))];
const COMPOSE: &str = "docker compose --file /run/shop/compose.yaml";

fn prepare(lab: &Lab, host: &str, file: &str) {
    let image = Engines::of_this_user().unwrap().image("mariadb").unwrap_or_else(|error| panic!("{error:#}"));
    run(lab, host, "byway docker network --create; mkdir /run/shop");
    run(lab, host, &format!("docker import {} mariadb", image.display()));
    write(lab, host, "/run/shop/compose.yaml", file);
}

/// Asks the shop at its published port, from outside.
fn visit(lab: &Lab) -> io::Result<String> {
    let shop = SocketAddr::from(([192, 168, 199, 41], 8080));
    let mut stream = lab.inside("switch", || TcpStream::connect_timeout(&shop, PATIENCE)).unwrap()?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut said = String::new();
    stream.read_to_string(&mut said)?;
    Ok(said)
}

fn until_open(lab: &Lab) {
    Ear::open(lab, "docker41").until("the shop counts its orders", || match visit(lab) {
        Ok(said) if said.ends_with("\r\n\r\nweb@172.41.0.10\t2\n") => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

#[test]
fn a_web_container_asks_a_database_on_the_other_host_and_does_so_again_after_down_and_up() {
    let lab = up(&On::Network.topology(["20.10", "28.5"]));
    run(&lab, "switch", "ip address add 192.168.199.9/24 dev lan");
    thread::scope(|scope| {
        for (host, file) in PROJECT {
            let lab = &lab;
            scope.spawn(move || prepare(lab, host, file));
        }
    });
    for restarted in [&["docker41", "docker42"][..], &["docker42"], &["docker41"]] {
        for host in restarted {
            run(&lab, host, &format!("{COMPOSE} down --timeout 1; {COMPOSE} up --detach"));
        }
        until_open(&lab);
    }
    for (host, service) in [("docker41", "shop/web"), ("docker42", "shop/db")] {
        Ear::open(&lab, host).until("the status names the service", || {
            let (_, said, _) = byway(&lab, host, &["status"]);
            if said.contains(service) { Ok(()) } else { Err(said) }
        });
    }
}
