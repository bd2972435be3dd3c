//! Objects that definitions name by an S3 ARN: from any S3-compatible endpoint, or from a directory
//! that has a folder for each bucket.

use std::{
    path::{Component, Path},
    time::Duration,
};

use object_store::{
    ClientOptions, ObjectStoreExt,
    aws::AmazonS3Builder,
    client::{HttpClient, HttpConnector},
};

use crate::{
    blocking::OBJECTS,
    settings::{Objects, Proxies},
};

/// Maximum of bytes of an object that is read: it goes into an environment or a configuration.
const OBJECT_BYTES_MAX: u64 = 1024 * 1024;
const DEFAULT_REGION: &str = "us-east-1";
/// Timeout of one request, for which a container waits.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
const ACCESS_KEY_ID: &str = "AWS_ACCESS_KEY_ID";

impl Objects {
    /// An error is a sentence that names the object.
    pub(super) async fn read(&self, arn: &str) -> Result<Vec<u8>, String> {
        let (bucket, key) = bucket_and_key(arn).ok_or_else(|| {
            format!("{arn} is not the ARN of an S3 object, arn:aws:s3:::bucket/key")
        })?;
        match self {
            // The directory may be on a network.
            Objects::Directory(root) => {
                let (root, bucket, key) = (root.clone(), bucket.to_owned(), key.to_owned());
                let read = OBJECTS.run(move || read_file(&root, &bucket, &key)).await;
                read.unwrap_or_else(|error| Err(error.to_string()))
            }
            Objects::Endpoint(endpoint, proxies) => {
                read_object(endpoint, proxies, bucket, key).await
            }
        }
        .map_err(|why| format!("{arn} cannot be read: {why}"))
    }
}

fn bucket_and_key(arn: &str) -> Option<(&str, &str)> {
    let (_, object) = arn.strip_prefix("arn:")?.split_once(":s3:::")?;
    object.split_once('/').filter(|(bucket, key)| !bucket.is_empty() && !key.is_empty())
}

fn read_file(root: &Path, bucket: &str, key: &str) -> Result<Vec<u8>, String> {
    let inside = Path::new(bucket).join(key);
    if !inside.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err("its name leads out of the directory".to_owned());
    }
    let path = root.join(inside);
    let size = fs_err::metadata(&path).map_err(|error| error.to_string())?.len();
    within_limit(size)?;
    fs_err::read(path).map_err(|error| error.to_string())
}

/// Makes clients that go by the settings, not by the variables of the environment.
#[derive(Debug)]
struct Connector(Proxies);

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = reqwest::Client::builder().timeout(ANSWER_WITHIN);
        let client = self.0.apply(client).and_then(reqwest::ClientBuilder::build);
        client
            .map(HttpClient::new)
            .map_err(|error| object_store::Error::Generic { store: "S3", source: Box::new(error) })
    }
}

/// The first of these that says something, as AWS's tools read them.
fn region(variable: impl Fn(&str) -> Option<String>) -> String {
    let given = ["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter().filter_map(variable);
    let mut given = given.map(|region| region.trim().to_owned()).filter(|r| !r.is_empty());
    given.next().unwrap_or_else(|| DEFAULT_REGION.to_owned())
}

async fn read_object(
    endpoint: &str,
    proxies: &Proxies,
    bucket: &str,
    key: &str,
) -> Result<Vec<u8>, String> {
    let store = AmazonS3Builder::from_env()
        .with_region(region(|name| std::env::var(name).ok()))
        .with_http_connector(Connector(proxies.clone()))
        .with_endpoint(endpoint)
        .with_allow_http(true)
        .with_virtual_hosted_style_request(false)
        .with_skip_signature(std::env::var_os(ACCESS_KEY_ID).is_none())
        .with_bucket_name(bucket)
        .build()
        .map_err(|error| error.to_string())?;
    // As it is written: `from` would replace `~`, `#` and `%` by other names.
    let path = object_store::path::Path::parse(key).map_err(|error| error.to_string())?;
    let object = store.get(&path).await.map_err(|error| error.to_string())?;
    within_limit(object.meta.size)?;
    let bytes = object.bytes().await.map_err(|error| error.to_string())?;
    Ok(bytes.to_vec())
}

fn within_limit(bytes: u64) -> Result<(), String> {
    match bytes > OBJECT_BYTES_MAX {
        true => Err(format!("it has {bytes} bytes, at most {OBJECT_BYTES_MAX} are read")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    #[test]
    fn default_region_counts_where_no_region_is_given() {
        for (given, of_default, wanted) in [
            (None, None, "us-east-1"),
            (None, Some("eu-west-1"), "eu-west-1"),
            (Some("eu-west-3"), Some("eu-west-1"), "eu-west-3"),
            (Some(" "), Some("eu-west-1"), "eu-west-1"),
            (Some("eu-west-3"), None, "eu-west-3"),
        ] {
            let variable = |name: &str| match name {
                "AWS_REGION" => given.map(str::to_owned),
                _ => of_default.map(str::to_owned),
            };
            assert_eq!(region(variable), wanted);
        }
    }

    #[tokio::test]
    async fn a_key_is_asked_for_as_it_is_written() {
        // As the program does; the client will not be made without one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let asked = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                stream.read_buf(&mut request).await.unwrap();
            }
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nETag: \"1\"\r\nLast-Modified: \
                          Wed, 21 Oct 2015 07:28:00 GMT\r\n\r\nA=1\n";
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8(request).unwrap().lines().next().unwrap().to_owned()
        });
        let read = Objects::Endpoint(endpoint, Proxies::default())
            .read("arn:aws:s3:::conf/~a/b#1%20.env")
            .await;
        assert_eq!(read.unwrap(), b"A=1\n");
        assert_eq!(asked.await.unwrap(), "GET /conf/~a/b%231%2520.env HTTP/1.1");
    }
}
