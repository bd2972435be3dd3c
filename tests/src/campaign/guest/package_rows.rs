//! The Debian packages under systemd: they take over from `make install`, are upgraded and removed beside a
//! running task. Each row puts back what `make install` had laid.

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::{
    image::{OUR_PACKAGES, RELEASES},
    installed::Guest,
    program_rows::{units, untouched},
    task_rows::sleeper,
};

/// What `make install` had laid, put aside while packages are there.
const ASIDE: &str = "/var/lib/aside";

const FIRST: &str = RELEASES[0];
const SECOND: &str = RELEASES[1];

/// Installs both packages. Settings that are there stay.
fn dpkg(release: &str) -> String {
    format!("dpkg --install --force-confold {OUR_PACKAGES}/*_{release}_*.deb")
}

/// As [`dpkg`], and waits until what the packages restart has restarted.
fn install(release: &str) -> String {
    format!(
        "{}
         while systemctl list-jobs --no-legend 'longshore-*' | grep -q .; do sleep 0.5; done",
        dpkg(release)
    )
}

/// As an operator moves from `make install` to packages, with settings put aside too.
fn take_over() -> String {
    format!(
        "mkdir -p {ASIDE}/units {ASIDE}/programs
         cp -a /etc/longshore {ASIDE}/settings
         mv /etc/systemd/system/longshore-*.service {ASIDE}/units
         mv /usr/local/bin/longshore-* {ASIDE}/programs
         systemctl daemon-reload
         {}",
        install(FIRST)
    )
}

/// Waits until both programs run from where the packages have them.
async fn packaged(guest: &Guest) -> Result<()> {
    for unit in units() {
        let program = format!("readlink /proc/$(systemctl show -p MainPID --value {unit})/exe");
        guest
            .until(&format!(
                "systemctl is-active {unit} && {program} | grep -qx '/usr/bin/[a-z-]*'"
            ))
            .await
            .with_context(|| format!("{unit} does not run the package's program"))?;
    }
    guest.connected().await.map(drop)
}

pub(super) async fn package_refuses_units_of_make_install(guest: &mut Guest) -> Result<()> {
    let refused = format!("if {} 2>&1; then exit 1; fi", dpkg(FIRST));
    let told = guest.sh(&refused).await.context("the packages are installed over the units")?;
    for unit in units() {
        let file = format!("/etc/systemd/system/{unit}.service");
        ensure!(told.contains(&file), "{file} is not named: {told}");
    }
    guest.sh("test ! -e /usr/bin/longshore-agent").await.context("it is unpacked")?;
    Ok(())
}

pub(super) async fn packages_take_over_beside_a_task(guest: &mut Guest) -> Result<()> {
    untouched(guest, &take_over()).await?;
    packaged(guest).await?;
    let enabled = guest.sh("systemctl is-enabled longshore-agent longshore-coordinator").await?;
    ensure!(enabled == "enabled\nenabled\n", "{enabled}");
    guest.without_packages().await
}

pub(super) async fn package_upgrade_touches_no_container(guest: &mut Guest) -> Result<()> {
    guest.sh(&take_over()).await?;
    packaged(guest).await?;
    let ids = "systemctl show -p InvocationID --value longshore-agent longshore-coordinator";
    let before = guest.sh(ids).await?;
    let settings = guest.sh("cat /etc/longshore/agent.toml").await?;
    untouched(guest, &install(SECOND)).await?;
    packaged(guest).await?;
    ensure!(guest.sh(ids).await? != before, "the programs were not restarted");
    ensure!(guest.sh("cat /etc/longshore/agent.toml").await? == settings, "settings changed");
    guest.without_packages().await
}

pub(super) async fn package_purge_stops_units_and_no_container(guest: &mut Guest) -> Result<()> {
    guest.sh(&take_over()).await?;
    packaged(guest).await?;
    let task = guest.run_task(sleeper(json!({}), json!({}))).await?;
    let before = guest.lives().await?;
    guest.sh("dpkg --purge longshore-agent longshore-coordinator").await?;
    for unit in units() {
        guest.sh(&format!("if systemctl is-active {unit}; then exit 1; fi")).await?;
    }
    let left = "find /usr/bin /usr/lib/systemd /etc/systemd -name '*longshore*'";
    let left = guest.sh(left).await?;
    ensure!(left.is_empty(), "the packages left {left}");
    ensure!(guest.lives().await? == before, "containers changed");
    guest.without_packages().await?;
    ensure!(guest.lives().await? == before, "containers changed with the programs' return");
    guest.task_until(&task, "RUNNING").await?;
    guest.stop(&task).await.map(drop)
}

impl Guest {
    /// Puts back what `make install` had laid, if packages took its place.
    pub(super) async fn without_packages(&self) -> Result<()> {
        self.sh(&format!(
            "if [ -d {ASIDE} ]; then
               dpkg --purge longshore-agent longshore-coordinator
               mv {ASIDE}/programs/* /usr/local/bin
               mv {ASIDE}/units/* /etc/systemd/system
               rm -rf /etc/longshore
               mv {ASIDE}/settings /etc/longshore
               rm -r {ASIDE}
               systemctl daemon-reload
               systemctl enable --now longshore-coordinator longshore-agent
             fi"
        ))
        .await?;
        self.connected().await.map(drop)
    }
}
