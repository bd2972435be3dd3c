//! Thresholds of full disks: where the host cleans up, and where it takes no task.

const CLEAN_AT_PERCENT: u8 = 85;

const REFUSE_AT_PERCENT: u8 = 95;

const FLOOR_BYTES: u64 = 128 << 20;

/// Thresholds at which disks are cleaned up, and at which no task is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskRules {
    /// Percent used.
    pub clean_at: u8,
    /// Percent used.
    pub refuse_at: u8,
    /// With less free than this no task is taken either, whatever the percentage.
    pub floor_bytes: u64,
}

impl Default for DiskRules {
    fn default() -> Self {
        DiskRules {
            clean_at: CLEAN_AT_PERCENT,
            refuse_at: REFUSE_AT_PERCENT,
            floor_bytes: FLOOR_BYTES,
        }
    }
}
