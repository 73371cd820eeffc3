// The addresses of an upstream's API, of a registry at the top of its host or below a path. Pure.

/**
 * The address of `path` below `/v2/`. A base that goes on after `/v2`, such as
 * `https://harbor.example/v2/dockerhub`, names a part of a registry: it comes before every repository.
 * @param namespace what another gateway is to be asked for (`?ns=`), unless the path says so
 * @param base without slashes at its end, but for that of a bare host
 * @param path such as `library/alpine/manifests/latest`; of the registry itself such as `_catalog` or
 *   `/_catalog`
 */
export function apiAddress(base: URL, path: string, namespace?: string): URL {
  const url = addressIn(base, path.replace(/^\//, ''))
  if (namespace !== undefined && !url.searchParams.has('ns')) {
    url.search += `${url.search === '' ? '' : '&'}ns=${encodeURIComponent(namespace)}`
  }
  return url
}

function addressIn(base: URL, path: string): URL {
  const address = base.href.replace(/\/$/, '')
  const end = address.indexOf('/v2/')
  if (end < 0) return new URL(`${address}/v2/${path}`)
  const [registry, part] = [address.slice(0, end), address.slice(end + '/v2/'.length)]
  const isOfRegistry = path === '' || path.startsWith('_')
  return new URL(`${registry}/v2/${isOfRegistry ? '' : `${part}/`}${path}`)
}

/** The repository that an address of the API names, as that registry knows it; empty: none. */
export function repositoryIn({ pathname }: URL): string {
  const start = pathname.indexOf('/v2/')
  if (start < 0) return ''
  const path = pathname.slice(start + '/v2/'.length)
  return /^(.+)\/(?:manifests|blobs|tags|referrers)\//.exec(path)?.[1] ?? ''
}
