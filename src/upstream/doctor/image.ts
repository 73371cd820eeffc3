// An image as one registry names it.
import { GatewayError } from '../../errors.ts'
import { parseResource } from '../../oci/resource.ts'

export interface Image {
  repository: string
  /** A tag or a digest. */
  reference: string
}

/**
 * `library/alpine`, `library/alpine:3.20` or `library/alpine@sha256:…`; without either it means
 * `latest`. Throws GatewayError where a name breaks the grammar of the distribution specification.
 */
export function parseUpstreamImage(text: string): Image {
  const [, repository = '', tag = 'latest', digest] =
    /^([^:@]*)(?::([^:@]*))?(?:@(.*))?$/s.exec(text) ?? []
  const reference = digest ?? tag
  const resource = parseResource(`/v2/${repository}/manifests/${reference}`)
  // `a/manifests/b` would be read as another repository than it says.
  if (resource.kind !== 'manifest' || resource.name !== repository) {
    throw new GatewayError('NAME_INVALID', 'no image is called so')
  }
  return { repository, reference }
}
