// The section of the gateways that share the work: who they are, and how they know each other.
import Type, { type Static } from 'typebox'
import { closed, port, section, text } from '../schema-parts.ts'
import { upstreamTls } from './schema.ts'

const address = {
  pattern: String.raw`^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?):\d{1,5}$`,
  mustBe: 'host:port, such as gateway-0.gateway:5443',
  valueText: 'host:port',
}

const { ca, cert, key, passphraseFile, serverName } = upstreamTls
const tls = { ca, cert, key, passphraseFile, serverName }

export const ReplicasSchema = Type.Object(
  {
    list: Type.Array(text('One replica.', address), {
      default: [],
      description: 'All replicas, this one too, each by the address that the others reach it at.',
    }),
    dns: Type.Optional(
      text(
        'Instead of `list`: a name whose addresses are those of all replicas, such as that of a headless Service; asked again every 5 s.',
      ),
    ),
    resolver: Type.Optional(
      text('The DNS server that is asked for `dns`; that of the system unless told.', {
        ...address,
        mustBe: 'an address and a port such as 10.0.0.10:53',
      }),
    ),
    port: port('The port of the replicas that `dns` finds.', 5443),
    self: Type.Optional(
      text(
        'Which of them this gateway is; found out by the addresses of this machine unless told.',
        address,
      ),
    ),
    identity: Type.Array(
      text(
        'A name in certificates of replicas: common name, DNS name or URI, with wild cards as in `policy.rules.*.who`.',
      ),
      {
        default: [],
        description:
          'Whom this gateway takes for a replica, which may pull whatever it asks for: it has decided for its clients.',
      },
    ),
    tls: Type.Object(tls, section('TLS towards other replicas, whose certificates are checked.')),
  },
  {
    ...closed,
    default: {},
    description:
      'Gateways that share the work: each digest and each tag has an owner among them, which alone asks the upstream, and which the others ask.',
  },
)

export type ReplicasConfig = Static<typeof ReplicasSchema>
