use expect_test::expect;

use super::*;

const GIB: u64 = 1 << 30;

fn file_system(used_percent: u8, free_bytes: u64) -> FileSystemUsage {
    FileSystemUsage {
        path: PathBuf::from("/var/lib/docker"),
        bytes: 100 * GIB,
        free_bytes,
        used_percent,
        inodes_used_percent: 0,
    }
}

fn room(was: DiskSpace, used_percent: u8) -> DiskSpace {
    file_system(used_percent, GIB).room(&DiskRules::default(), was)
}

#[test]
fn room_is_short_from_one_threshold_on_and_lacking_from_the_other() {
    let at = [0, 84, 85, 94, 95, 100].map(|percent| room(DiskSpace::Enough, percent));
    use DiskSpace::*;
    assert_eq!(at, [Enough, Enough, Short, Short, Lacking, Lacking]);
}

#[test]
fn a_threshold_is_left_a_little_below_it() {
    assert_eq!(
        [84, 83].map(|percent| room(DiskSpace::Short, percent)),
        [DiskSpace::Short, DiskSpace::Enough]
    );
    let lacking = [94, 93, 84, 83].map(|percent| room(DiskSpace::Lacking, percent));
    assert_eq!(
        lacking,
        [DiskSpace::Lacking, DiskSpace::Short, DiskSpace::Short, DiskSpace::Enough]
    );
}

#[test]
fn few_bytes_or_inodes_are_no_room_either() {
    let rules = DiskRules::default();
    let few_bytes = file_system(10, DiskRules::default().floor_bytes - 1);
    assert_eq!(few_bytes.room(&rules, DiskSpace::Enough), DiskSpace::Lacking);
    let a_little_more = file_system(10, DiskRules::default().floor_bytes + 1);
    assert_eq!(a_little_more.room(&rules, DiskSpace::Lacking), DiskSpace::Lacking);
    assert_eq!(a_little_more.room(&rules, DiskSpace::Enough), DiskSpace::Enough);
    assert_eq!(
        file_system(10, DiskRules::default().floor_bytes * 9 / 8).room(&rules, DiskSpace::Lacking),
        DiskSpace::Enough
    );
    let few_inodes = FileSystemUsage { inodes_used_percent: 96, ..file_system(10, GIB) };
    assert_eq!(few_inodes.room(&rules, DiskSpace::Enough), DiskSpace::Lacking);
}

#[test]
fn the_file_system_with_the_least_room_decides_and_is_named() {
    let own = FileSystemUsage { path: PathBuf::from("/data"), ..file_system(20, GIB) };
    let seen = disk(vec![own, file_system(97, 5)], &DiskRules::default(), DiskSpace::Enough);
    assert_eq!(seen.room, DiskSpace::Lacking);
    expect!["the file system of /var/lib/docker has 5 of 107374182400 bytes free (97 % used, 0 % of its inodes); remove what it need not hold (`docker system prune`), make it larger, or change disk-refuse-at and disk-floor"]
        .assert_eq(&seen.advice().unwrap());
}

#[test]
fn what_cannot_be_read_changes_nothing() {
    assert_eq!(disk(Vec::new(), &DiskRules::default(), DiskSpace::Short).room, DiskSpace::Short);
}

#[test]
fn percentages_are_rounded_up_and_of_nothing_is_none_used() {
    let shown = [(0, 0), (0, 9), (1, 999), (1, 0), (u64::MAX, u64::MAX)];
    assert_eq!(shown.map(|(used, free)| percent(used, free)), [0, 0, 1, 100, 50]);
}

#[tokio::test(start_paused = true)]
async fn file_system_that_hangs_is_awaited_once_and_keeps_its_last_size() {
    let (answer, awaited) = oneshot::channel();
    let seen = file_system(10, GIB);
    let mut place = WatchedPath {
        path: PathBuf::from("/hangs"),
        last: Some(seen.clone()),
        awaited: Some(awaited),
        told: false,
        may_be_missing: false,
    };
    for _ in 0..3 {
        place.look().await;
        assert!(place.awaited.is_some() && place.told);
        assert_eq!(place.last, Some(seen.clone()));
    }
    answer.send(Ok(file_system(20, GIB))).unwrap();
    place.look().await;
    assert_eq!(place.last, Some(file_system(20, GIB)));
    assert!(place.awaited.is_none() && !place.told);
}

#[tokio::test]
async fn dockers_own_file_system_is_looked_at_once_docker_tells_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (monitor, mut watch) = monitor();
    let (reach, docker) = watch::channel(DockerReach::default());
    let shutdown = CancellationToken::new();
    let data_dir = folder.path().to_owned();
    let rules = DiskRules { clean_at: 0, refuse_at: 100, floor_bytes: 0 };
    let looking = tokio::spawn(monitor.run(rules, data_dir, docker, shutdown.clone()));
    let first = watch.seen.wait_for(|disk| !disk.file_systems.is_empty()).await.unwrap().clone();
    assert_eq!((first.room >= DiskSpace::Short, first.file_systems.len()), (true, 1));
    reach.send_modify(|reach| {
        let data_root = Some(PathBuf::from("/"));
        reach.last = Some(crate::runtime::RuntimeVersion { data_root, ..Default::default() });
    });
    watch.again.notify_one();
    let both = watch.seen.wait_for(|disk| disk.file_systems.len() == 2).await.unwrap().clone();
    assert!(both.file_systems.iter().any(|one| one.path == Path::new("/")), "{both:?}");
    shutdown.cancel();
    looking.await.unwrap();
}

/// Docker with containerd's image store has what fills a disk elsewhere.
#[tokio::test]
async fn images_of_containerd_are_looked_at_where_docker_keeps_them_there() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("containerd");
    let (mut monitor, mut watch) = monitor();
    monitor.containerd_root.clone_from(&store);
    let (reach, docker) = watch::channel(DockerReach::default());
    let shutdown = CancellationToken::new();
    let data_dir = folder.path().to_owned();
    let looking =
        tokio::spawn(monitor.run(DiskRules::default(), data_dir, docker, shutdown.clone()));
    let again = watch.again.clone();
    let mut seen_after = async |containerd_images, paths: &[&Path]| {
        reach.send_modify(|reach| {
            let data_root = Some(PathBuf::from("/"));
            let docker = RuntimeVersion { data_root, containerd_images, ..Default::default() };
            reach.last = Some(docker);
        });
        again.notify_one();
        let all = |disk: &Disk| {
            let seen = disk.file_systems.iter().map(|one| one.path.as_path());
            let mut seen: Vec<&Path> = seen.collect();
            seen.sort();
            seen == paths
        };
        watch.seen.wait_for(all).await.unwrap();
    };
    let root = Path::new("/");
    // A containerd that keeps them elsewhere.
    seen_after(true, &[root, folder.path()]).await;
    fs_err::create_dir(&store).unwrap();
    seen_after(true, &[root, folder.path(), &store]).await;
    seen_after(false, &[root, folder.path()]).await;
    shutdown.cancel();
    looking.await.unwrap();
}
