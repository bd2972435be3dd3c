//! What bounds an expression, so that none costs much.

/// Maximum length of one expression in characters (ecs-behaviour 1.5).
pub const EXPRESSION_CHARS_MAX: usize = 2000;
/// Maximum depth of parentheses and negations within one another (ours), which bounds the stack.
pub const DEPTH_MAX: u32 = 32;
/// Maximum number of regular expressions in one expression (ours).
pub const PATTERNS_MAX: usize = 16;
/// Maximum size of one compiled regular expression in bytes (ours): repetitions make it large.
pub const PATTERN_BYTES_MAX: usize = 32 * 1024;
