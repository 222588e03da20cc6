//! Docker is understood in any version of its API.

use std::path::PathBuf;

use byway_agent::edge::docker::{API_DEFAULT_VERSION, ClientVersion, Place, ask_in_version};

use crate::networks::{HOSTS, On};

/// The oldest that 28.5 speaks; 20.10 speaks older ones still.
const OLD: ClientVersion = ClientVersion { major_version: 1, minor_version: 24 };

#[test]
fn an_engine_says_the_same_in_the_oldest_and_the_newest_version_of_its_api() {
    let lab = On::Network.cluster(["20.10", "28.5"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (host, container) in HOSTS.into_iter().zip(["c41", "c42"]) {
        let root = PathBuf::from(format!("/proc/{}/root", lab.agent_pid(host).unwrap()));
        let place = Place { socket: root.join("run/docker.sock"), networks: Vec::new() };
        let ask = |version| runtime.block_on(ask_in_version(&place, version)).unwrap();
        let (old, new) = (ask(&OLD), ask(API_DEFAULT_VERSION));
        assert_eq!((&old.networks, &old.endpoints), (&new.networks, &new.endpoints), "{host}");
        assert_eq!(old.version, new.version);
        let byway = old.networks.iter().find(|network| network.name == "byway").unwrap();
        assert!(byway.opted_in && byway.bridge == "bw0" && byway.subnets.len() == 2, "{byway:?}");
        let [endpoint] = &old.endpoints[..] else { panic!("{:?}", old.endpoints) };
        assert_eq!((endpoint.container.as_str(), endpoint.addresses.len()), (container, 2));
    }
}
