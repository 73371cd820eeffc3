// The media types of manifests that a registry may answer with.

export const mediaTypes = {
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
} as const

/** The Accept header that asks an upstream for any of them, as it is stored. */
export const manifestAccept = [
  ...Object.values(mediaTypes),
  'application/vnd.docker.distribution.manifest.v1+prettyjws;q=0.5',
  'application/vnd.docker.distribution.manifest.v1+json;q=0.5',
  '*/*;q=0.1',
].join(', ')

/** A Content-Type without its parameters, lower-case. */
export function bareMediaType(contentType: string | undefined): string {
  return (contentType ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? ''
}

/** What stands in front of a registry and answers in its place sends this. */
export function isWebPage(mediaType: string): boolean {
  return mediaType === 'text/html' || mediaType === 'application/xhtml+xml'
}
