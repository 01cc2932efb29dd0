//! The images that servers are made of.

use testcontainers::core::client::docker_client_instance;
use tokio::sync::OnceCell;

use super::Recipe;
use super::sweep::sweep;
use crate::Missing;

/// Makes sure that the image is here, and once removes what earlier runs left behind.
///
/// # Errors
/// [`Missing`] with the reason and the remedy.
pub(super) async fn prepare(recipe: &Recipe) -> Result<(), Missing> {
    static SWEPT: OnceCell<()> = OnceCell::const_new();
    image_is_here(recipe).await?;
    SWEPT.get_or_init(sweep).await;
    Ok(())
}

async fn image_is_here(recipe: &Recipe) -> Result<(), Missing> {
    let unreachable = |error: &dyn std::fmt::Display| {
        Missing::new(format!(
            "docker cannot be reached; start it or set DOCKER_HOST: {error}"
        ))
    };
    let docker = docker_client_instance()
        .await
        .map_err(|error| unreachable(&error))?;
    docker.ping().await.map_err(|error| unreachable(&error))?;
    let (name, image) = (recipe.name, recipe.image());
    docker.inspect_image(&image).await.map(|_| ()).map_err(|_| {
        Missing::new(format!(
            "image {image} is not on this machine; build it with `docker/images.sh {name}`"
        ))
    })
}

/// Splits `name:tag`; the colon of a registry's port is none of it.
pub(super) fn name_and_tag(image: &str) -> (&str, &str) {
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (image, "latest"),
    }
}
