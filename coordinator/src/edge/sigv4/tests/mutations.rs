//! P18: one change to a request that was signed is refused, unless it means the same.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName};

use super::*;

/// Number of mutated requests.
const MUTATIONS: usize = 20_000;

/// What the signer put their name to, worked out apart from the code under test.
#[derive(Debug, PartialEq)]
struct Meaning {
    method: String,
    target: String,
    signed: BTreeMap<String, Vec<String>>,
    amazon: Vec<String>,
    body: Vec<u8>,
}

fn meaning(parts: &Parts, body: &[u8], signed: &[&str]) -> Meaning {
    let words = |name: &str| {
        let all: Vec<String> = parts
            .headers
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect();
        // Several values stand for one with commas; runs of spaces for one.
        all.join(",").split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    let mut amazon: Vec<String> = parts
        .headers
        .keys()
        .map(|name| name.as_str().to_owned())
        .filter(|name| name.starts_with("x-amz-"))
        .collect();
    amazon.sort();
    Meaning {
        method: parts.method.to_string(),
        target: parts.uri.to_string(),
        signed: signed.iter().map(|name| ((*name).to_owned(), words(name))).collect(),
        amazon,
        body: body.to_owned(),
    }
}

/// SplitMix64: small, and the same everywhere for a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.roll() % bound.max(1) as u64) as usize
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

/// Changes one byte: another value, one more, or one less.
fn nudge(dice: &mut Dice, bytes: &mut Vec<u8>, alphabet: &[u8]) {
    let at = dice.below(bytes.len());
    let byte = *dice.pick(alphabet);
    match dice.below(4) {
        0 if !bytes.is_empty() => drop(bytes.remove(at)),
        1 => bytes.insert(at, byte),
        2 if !bytes.is_empty() => bytes[at] ^= 0x20,
        _ if !bytes.is_empty() => bytes[at] = byte,
        _ => bytes.push(byte),
    }
}

/// One mutation. Returns its kind, or nothing when it could not be written as HTTP.
fn mutate(dice: &mut Dice, parts: &mut Parts, body: &mut Vec<u8>) -> Option<&'static str> {
    const PRINTABLE: &[u8] = b"abcXYZ0189 ,;=/+-_:\"\t";
    let names: Vec<HeaderName> = parts.headers.keys().cloned().collect();
    let name = dice.pick(&names).clone();
    let kind = match dice.below(14) {
        0 | 1 => {
            let mut value = parts.headers[&name].as_bytes().to_vec();
            nudge(dice, &mut value, PRINTABLE);
            parts.headers.insert(name, HeaderValue::from_bytes(&value).ok()?);
            "a byte of a header"
        }
        2 => {
            nudge(dice, body, PRINTABLE);
            "a byte of the body"
        }
        3 => {
            parts.headers.remove(&name);
            "a header dropped"
        }
        4 => {
            let mut value = parts.headers[&name].as_bytes().to_vec();
            if dice.below(2) == 0 {
                nudge(dice, &mut value, PRINTABLE);
            }
            parts.headers.append(name, HeaderValue::from_bytes(&value).ok()?);
            "a header twice"
        }
        5 => {
            let more = ["x-amz-acl", "x-amz-security-token", "x-amz-content-sha256", "range", "te"];
            let value = dice.pick(&["", "a", "UNSIGNED-PAYLOAD"]);
            parts.headers.insert(*dice.pick(&more), HeaderValue::from_static(value));
            "a header more"
        }
        6 => {
            let value = parts.headers.remove(&name)?;
            let renamed = format!("{name}{}", dice.pick(&["-", "1", "x"]));
            parts.headers.insert(HeaderName::from_bytes(renamed.as_bytes()).ok()?, value);
            "a header renamed"
        }
        7 => {
            let text = authorization(parts);
            let (before, list) = text.split_once("SignedHeaders=")?;
            let (list, after) = list.split_once(',')?;
            let mut list: Vec<String> = list.split(';').map(str::to_owned).collect();
            let at = dice.below(list.len());
            match dice.below(4) {
                0 => drop(list.remove(at)),
                1 => list.insert(at, dice.pick(&["user-agent", "", "x-amz-acl"]).to_string()),
                2 => list.swap(0, at),
                _ => list[at] = list[at].to_uppercase(),
            }
            set(
                parts,
                "authorization",
                &format!("{before}SignedHeaders={},{after}", list.join(";")),
            );
            "another list of signed headers"
        }
        8 => {
            let targets = ["DeleteCluster", "describeTasks", "DescribeTasks ", "RunTask"];
            let target = format!("AmazonEC2ContainerServiceV20141113.{}", dice.pick(&targets));
            set(parts, "x-amz-target", &target);
            "another target"
        }
        9 => {
            let forms = ["/?", "//", "/.", "/%2F", "/x", "/?a", "/?X-Amz-Signature=a", "http://h/"];
            parts.uri = Uri::from_static(forms[dice.below(forms.len())]);
            "another path or query"
        }
        10 => {
            let moment = NOW.0.wrapping_add(dice.below(2_000_000) as u64) - 1_000_000;
            set(parts, "x-amz-date", &basic_format(Timestamp(moment)));
            "another date"
        }
        11 => {
            let text = authorization(parts);
            let scopes = [
                ("20260102", "20260103"),
                ("us-east-1", "us-east-2"),
                ("/ecs/", "/sts/"),
                ("aws4_request", "aws4_Request"),
                ("AAAA", "AAAB"),
                ("HMAC-SHA256", "HMAC-SHA512"),
            ];
            let (from, to) = *dice.pick(&scopes);
            set(parts, "authorization", &text.replacen(from, to, 1));
            "another scope, key or algorithm"
        }
        12 => {
            let text = authorization(parts);
            let (before, signature) = text.split_once("Signature=")?;
            let mut signature = signature.as_bytes().to_vec();
            match dice.below(3) {
                0 => signature = signature.to_ascii_uppercase(),
                1 => signature.truncate(dice.below(64)),
                _ => nudge(dice, &mut signature, b"0123456789abcdefABCDEF "),
            }
            let mut value = format!("{before}Signature=").into_bytes();
            value.append(&mut signature);
            parts.headers.insert("authorization", HeaderValue::from_bytes(&value).ok()?);
            "another signature"
        }
        _ => {
            parts.method = dice.pick(&[Method::GET, Method::PUT, Method::HEAD]).clone();
            "another method"
        }
    };
    Some(kind)
}

#[test]
fn one_change_to_a_signed_request_is_refused_unless_it_means_the_same() {
    let seed = std::env::var("LONGSHORE_SEED").map_or(18, |seed| seed.parse().unwrap());
    let mut dice = Dice(seed);
    let (verifier, good) = (verifier(), signed());
    let text = authorization(&good);
    let signed = text.split_once("SignedHeaders=").unwrap().1.split_once(',').unwrap().0;
    let signed: Vec<&str> = signed.split(';').collect();
    let meant = meaning(&good, BODY, &signed);
    let (mut tried, mut same) = (BTreeMap::<&str, (usize, usize)>::new(), 0);
    let mut done = 0;
    while done < MUTATIONS {
        let (mut parts, mut body) = (copy(&good), BODY.to_vec());
        let Some(kind) = mutate(&mut dice, &mut parts, &mut body) else { continue };
        done += 1;
        let of_kind = tried.entry(kind).or_default();
        of_kind.0 += 1;
        if verify(&verifier, &parts, &body, "ecs", NOW).is_ok() {
            of_kind.1 += 1;
            same += 1;
            assert_eq!(meaning(&parts, &body, &signed), meant, "seed {seed}: {kind} got through");
        }
    }
    eprintln!("seed {seed}, mutations {done}, accepted because they mean the same {same}");
    for (kind, (count, accepted)) in &tried {
        eprintln!("{kind}: {count}, accepted {accepted}");
        assert!(*count > MUTATIONS / 50, "{kind} was hardly tried");
    }
    // Spaces that fold, unsigned headers: if none got through, the test would show nothing.
    assert!(same > 0 && same < MUTATIONS / 4, "{same}");
}

fn copy(parts: &Parts) -> Parts {
    let mut request = Request::new(());
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = parts.uri.clone();
    *request.headers_mut() = HeaderMap::clone(&parts.headers);
    request.into_parts().0
}
