// The smallest Linux program that prints a line: an ELF file of two system calls, no toolchain.

export type Architecture = 'amd64' | 'arm64'

const loadAddress = 0x40_0000
const headerBytes = 64 + 56

/** A static executable for `architecture` that writes `text` to its standard output and exits 0. */
export function programPrinting(text: string, architecture: Architecture): Buffer {
  const message = Buffer.from(text)
  const code = architecture === 'amd64' ? amd64(message.length) : arm64(message.length)
  const size = headerBytes + code.length + message.length
  return Buffer.concat([elfHeader(architecture), programHeader(size), code, message])
}

/** The System V ABI's 64-byte header: little-endian ELF64, executable, one program header. */
function elfHeader(architecture: Architecture): Buffer {
  const head = Buffer.alloc(64)
  head.write('\u007fELF\u0002\u0001\u0001', 0, 'latin1')
  head.writeUInt16LE(2, 16)
  head.writeUInt16LE(architecture === 'amd64' ? 62 : 183, 18)
  head.writeUInt32LE(1, 20)
  head.writeBigUInt64LE(BigInt(loadAddress + headerBytes), 24)
  head.writeBigUInt64LE(64n, 32)
  head.writeUInt16LE(64, 52)
  head.writeUInt16LE(56, 54)
  head.writeUInt16LE(1, 56)
  return head
}

/** One segment: the whole file, readable and executable, aligned for 64 KiB pages too. */
function programHeader(size: number): Buffer {
  const head = Buffer.alloc(56)
  head.writeUInt32LE(1, 0)
  head.writeUInt32LE(5, 4)
  head.writeBigUInt64LE(BigInt(loadAddress), 16)
  head.writeBigUInt64LE(BigInt(loadAddress), 24)
  head.writeBigUInt64LE(BigInt(size), 32)
  head.writeBigUInt64LE(BigInt(size), 40)
  head.writeBigUInt64LE(0x1_0000n, 48)
  return head
}

function amd64(length: number): Buffer {
  const code = Buffer.from(
    [
      'b801000000', // mov eax, 1 (write)
      'bf01000000', // mov edi, 1 (standard output)
      'be00000000', // mov esi, message
      'ba00000000', // mov edx, length
      '0f05', // syscall
      'b83c000000', // mov eax, 60 (exit)
      '31ff', // xor edi, edi
      '0f05', // syscall
    ].join(''),
    'hex',
  )
  code.writeUInt32LE(loadAddress + headerBytes + code.length, 11)
  code.writeUInt32LE(length, 16)
  return code
}

function arm64(length: number): Buffer {
  const code = Buffer.alloc(32)
  const instructions = [
    0xd280_0020, // mov x0, 1 (standard output)
    0x1000_00e1, // adr x1, message (7 words on)
    0xd280_0002 | (length << 5), // mov x2, length
    0xd280_0808, // mov x8, 64 (write)
    0xd400_0001, // svc 0
    0xd280_0000, // mov x0, 0
    0xd280_0ba8, // mov x8, 93 (exit)
    0xd400_0001, // svc 0
  ]
  instructions.forEach((word, index) => code.writeUInt32LE(word >>> 0, index * 4))
  return code
}
