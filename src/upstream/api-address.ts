// The addresses of an upstream's API, of a registry at the top of its host or below a path. Pure.

/**
 * The address of `path` below `/v2/`. A base that goes on after `/v2`, such as
 * `https://harbor.example/v2/dockerhub`, names a part of a registry: it comes before every repository.
 * @param path such as `library/alpine/manifests/latest`; of the registry itself such as `_catalog`
 */
export function apiAddress(base: URL, path: string): URL {
  const { href } = base
  const [, registry, part] = /^(.*?)\/v2\/(.+?)\/*$/.exec(href) ?? []
  if (registry === undefined) return new URL(`${href.replace(/\/+$/, '')}/v2/${path}`)
  const isOfRegistry = path === '' || path.startsWith('_')
  return new URL(`${registry}/v2/${isOfRegistry ? '' : `${part}/`}${path}`)
}

/** The repository that an address of the API names, as that registry knows it; empty: none. */
export function repositoryIn({ pathname }: URL): string {
  return /\/v2\/(.+)\/(?:manifests|blobs|tags|referrers)\//.exec(pathname)?.[1] ?? ''
}
