// The media types of manifests that a registry may answer with.

export const mediaTypes = {
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
} as const

/** The manifests of old registries, unsigned and signed. */
export const schema1Types = {
  plain: 'application/vnd.docker.distribution.manifest.v1+json',
  signed: 'application/vnd.docker.distribution.manifest.v1+prettyjws',
} as const

/** The Accept header that asks an upstream for any of them, as it is stored. */
export const manifestAccept = [
  ...Object.values(mediaTypes),
  `${schema1Types.signed};q=0.5`,
  `${schema1Types.plain};q=0.5`,
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

const restrictedName = '[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}'
const mediaTypePattern = new RegExp(`^${restrictedName}/${restrictedName}$`)

/** Whether `text` is a media type by the grammar of RFC 6838, section 4.2, without parameters. */
export function isMediaType(text: string): boolean {
  return mediaTypePattern.test(text)
}

/** Whether a browser runs or shows content of this type: nothing that a manifest can be is among these. */
export function isRunByBrowsers(mediaType: string): boolean {
  const lower = mediaType.toLowerCase()
  if (!lower.startsWith('application/')) return true
  return /[/+](?:xml|xhtml|pdf|(?:x-)?(?:java|ecma)script|x-shockwave-flash)$/.test(lower)
}
