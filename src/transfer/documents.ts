// The JSON documents of image archives, and how one is read: by its schema or not at all.
import Type, { type Static, type TSchema } from 'typebox'
import { Value } from 'typebox/value'
import { isDigest, type Digest } from '../oci/digest.ts'
import { BadArchive } from './bad-archive.ts'

const digest = Type.Refine(
  Type.String(),
  (text) => isDigest(text),
  () => 'must be a digest',
)
export const DigestText = Type.Unsafe<Digest>(digest)

const Descriptor = Type.Object({
  mediaType: Type.String(),
  digest: DigestText,
  size: Type.Integer({ minimum: 0 }),
  artifactType: Type.Optional(Type.String()),
  annotations: Type.Optional(Type.Record(Type.String(), Type.String())),
  platform: Type.Optional(
    Type.Object({
      os: Type.String(),
      architecture: Type.String(),
      variant: Type.Optional(Type.String()),
    }),
  ),
})

/** image-spec "OCI Content Descriptors", as far as it matters here. */
export type ImageDescriptor = Static<typeof Descriptor>

/** image-spec "image index", and docker's manifest list; also the `index.json` of an OCI layout. */
export const IndexDocument = Type.Object({ manifests: Type.Array(Descriptor) })

/** image-spec "image manifest", and docker's of schema 2. */
export const ManifestDocument = Type.Object({
  config: Descriptor,
  layers: Type.Array(Descriptor),
  artifactType: Type.Optional(Type.String()),
  annotations: Type.Optional(Type.Record(Type.String(), Type.String())),
})

/** image-spec 1.1.0-rc2 "artifact manifest", which registries still hold. */
export const ArtifactDocument = Type.Object({
  blobs: Type.Optional(Type.Union([Type.Array(Descriptor), Type.Null()])),
})

/** image-spec "image configuration": what ties an image to the content of its layers. */
export const ConfigDocument = Type.Object({
  rootfs: Type.Object({ diff_ids: Type.Array(DigestText) }),
})

/** The `manifest.json` of `docker save` and `crane pull`. */
export const DockerDocument = Type.Array(
  Type.Object({
    Config: Type.String(),
    RepoTags: Type.Optional(Type.Union([Type.Array(Type.String()), Type.Null()])),
    Layers: Type.Array(Type.String()),
  }),
)

/** The document in `bytes`; throws BadArchive, naming `entry`, where it is not what `schema` says. */
export function parseDocument<T extends TSchema>(
  schema: T,
  bytes: Buffer,
  entry: string,
): Static<T> {
  let value: unknown
  try {
    value = JSON.parse(bytes.toString('utf8'))
  } catch (cause) {
    throw new BadArchive(entry, 'is no JSON', cause)
  }
  if (Value.Check(schema, value)) return value
  const [first] = Value.Errors(schema, value)
  const where = first === undefined || first.instancePath === '' ? 'it' : first.instancePath
  throw new BadArchive(entry, `is not what it should be: ${where} ${first?.message ?? ''}`.trim())
}
