//! An authority, and the certificates of a cluster and of a client, made by openssl and valid for a day.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

/// Files in PEM; a pair is a certificate and its key.
#[derive(Debug, Clone)]
pub struct Certificates {
    /// The authority.
    pub ca: PathBuf,
    /// The members'.
    pub server: (PathBuf, PathBuf),
    /// A client's.
    pub client: (PathBuf, PathBuf),
}

impl Certificates {
    /// Makes them in a folder, for members at an address, which are named `etcd.test` too.
    ///
    /// # Errors
    /// When openssl is not there, or does not make one.
    pub fn make(folder: &Path, address: IpAddr) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        let authority = authority(folder)?;
        // Etcd asks itself as a client, with the certificate of the server.
        let server =
            format!("subjectAltName=IP:{address},DNS:etcd.test\nextendedKeyUsage=serverAuth,clientAuth\n");
        let server = leaf(folder, &authority, "server", &server)?;
        let client = leaf(folder, &authority, "client", "extendedKeyUsage=clientAuth\n")?;
        Ok(Self { ca: authority.0, server, client })
    }
}

fn authority(folder: &Path) -> anyhow::Result<(PathBuf, PathBuf)> {
    let (certificate, key) = pair(folder, "ca");
    let fixed =
        ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"];
    let name = ["-subj", "/CN=an authority of byway's tests"];
    openssl(
        Command::new("openssl").args(fixed).args(name).arg("-keyout").arg(&key).arg("-out").arg(&certificate),
    )?;
    Ok((certificate, key))
}

fn leaf(
    folder: &Path,
    authority: &(PathBuf, PathBuf),
    name: &str,
    extensions: &str,
) -> anyhow::Result<(PathBuf, PathBuf)> {
    let (certificate, key) = pair(folder, name);
    let (request, extensions_file) = (folder.join(format!("{name}.csr")), folder.join(format!("{name}.ext")));
    std::fs::write(&extensions_file, extensions).context("write what a certificate is for")?;
    let fixed = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let subject = format!("/CN={name}");
    let files = [Path::new("-keyout"), &key, Path::new("-out"), &request];
    openssl(Command::new("openssl").args(fixed).args(["-subj", &subject]).args(files))?;
    let by = [Path::new("-CA"), &authority.0, Path::new("-CAkey"), &authority.1];
    let files = [
        Path::new("-in"),
        &request,
        Path::new("-out"),
        &certificate,
        Path::new("-extfile"),
        &extensions_file,
    ];
    let fixed = ["x509", "-req", "-days", "1", "-CAcreateserial"];
    openssl(Command::new("openssl").args(fixed).args(by).args(files))?;
    Ok((certificate, key))
}

fn pair(folder: &Path, name: &str) -> (PathBuf, PathBuf) {
    (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")))
}

fn openssl(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().context("run openssl (apt install openssl)")?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
