//! Who is answered where, and as whom they are seen: `FROM TO:PORT OVER-IPV4 OVER-IPV6`, `-` for nobody.
//!
//! Port 80 of `web` is published as 8080 of its host, 81 is not; `ping` stands for a ping. Who is seen as `bridge` came
//! through Docker's userland proxy, or is the host itself.

/// The answers of one engine.
pub(crate) struct Answers {
    /// What the rest of the world gets, and the host and its containers, with us and without.
    pub(crate) always: &'static str,
    /// Where Docker alone falls short of what a cluster needs.
    pub(crate) alone: &'static str,
    /// The same questions, when we are there.
    pub(crate) kept: &'static str,
    /// What hosts and containers of the cluster get.
    pub(crate) cluster: &'static str,
}

/// To 26, Docker writes no rules for IPv6: it lets everybody in, masquerades nobody, and publishes by its proxy only.
pub(crate) const OLD: Answers = Answers {
    always: "outside host:8080    outside bridge
             outside bridge:8080  outside bridge
             peer    host:8080    peer    bridge
             host    lo:8080      bridge  bridge
             host    host:8080    host    bridge
             host    bridge:8080  bridge  bridge
             host    web:80       bridge  bridge
             next    host:8080    bridge  bridge
             next    bridge:8080  bridge  bridge
             next    web:80       next    next",
    alone: OLD_ALONE,
    kept: OLD_KEPT,
    cluster: "far  host:8080    peer         bridge
              far  bridge:8080  far          bridge
              far  web:80       far          far
              far  web:81       far          far
              peer bridge:8080  peers-bridge bridge
              peer web:80       peers-bridge peers-bridge",
};

const OLD_ALONE: &str = "outside web:80     outside outside
                         outside web:81     -       outside
                         web     outside:80 host    web";
const OLD_KEPT: &str = "outside web:80     outside -
                        outside web:81     -       -
                        outside web:ping   -       -
                        web     outside:80 host    host";

/// The same without the proxy: nothing is published for IPv6.
pub(crate) const OLD_WITHOUT_PROXY: Answers = Answers {
    always: "outside host:8080    outside -
             outside bridge:8080  outside -
             peer    host:8080    peer    -
             host    lo:8080      bridge  -
             host    host:8080    bridge  -
             host    bridge:8080  bridge  -
             host    web:80       bridge  bridge
             next    host:8080    next    -
             next    bridge:8080  next    -
             next    web:80       next    next",
    alone: OLD_ALONE,
    kept: OLD_KEPT,
    cluster: "far  host:8080    peer         -
              far  bridge:8080  far          -
              far  web:80       far          far
              far  web:81       far          far
              peer bridge:8080  peers-bridge -
              peer web:80       peers-bridge peers-bridge",
};

/// Since 28, both families are treated alike, and published ports are not for outsiders at the container's address.
pub(crate) const NEW: Answers = Answers {
    always: "outside host:8080    outside outside
             outside bridge:8080  outside outside
             outside web:80       -       -
             outside web:81       -       -
             outside web:ping     -       -
             peer    host:8080    peer    peer
             host    lo:8080      bridge  bridge
             host    host:8080    host    host
             host    bridge:8080  bridge  bridge
             host    web:80       bridge  bridge
             next    host:8080    bridge  bridge
             next    bridge:8080  bridge  bridge
             next    web:80       next    next
             web     outside:80   host    host",
    alone: "",
    kept: "",
    cluster: NEW_CLUSTER,
};

const NEW_CLUSTER: &str = "far  host:8080    peer         peer
                           far  bridge:8080  far          far
                           far  web:80       far          far
                           far  web:81       far          far
                           peer bridge:8080  peers-bridge peers-bridge
                           peer web:80       peers-bridge peers-bridge";

/// The same without the proxy.
pub(crate) const NEW_WITHOUT_PROXY: Answers = Answers {
    always: "outside host:8080    outside outside
             outside bridge:8080  outside outside
             outside web:80       -       -
             outside web:81       -       -
             outside web:ping     -       -
             peer    host:8080    peer    peer
             host    lo:8080      bridge  -
             host    host:8080    bridge  bridge
             host    bridge:8080  bridge  bridge
             host    web:80       bridge  bridge
             next    host:8080    next    next
             next    bridge:8080  next    next
             next    web:80       next    next
             web     outside:80   host    host",
    alone: "",
    kept: "",
    cluster: NEW_CLUSTER,
};
