import { type Cipheriv, createCipheriv, createDecipheriv, type Decipheriv, randomBytes } from 'node:crypto';

const EPOCH_BYTES = 6;
const SALT_BYTES = 4;
const POSITION_BYTES = 6;
const BLOCK_BYTES = EPOCH_BYTES + SALT_BYTES + POSITION_BYTES;

/**
 * Positions in one manager's history as readers may hold them: one encrypted block of epoch, salt and position. The epoch tells tokens of this manager
 * from others; the salt makes every token another one, since two equal heartbeats would say that nothing happened to other customers between them.
 */
export class ResumeTokens {
  readonly #epoch = randomBytes(EPOCH_BYTES);
  readonly #cipher: Cipheriv;
  readonly #decipher: Decipheriv;
  #salt = 0;

  constructor() {
    const key = randomBytes(BLOCK_BYTES);
    // Single blocks, each another one: nothing that a mode with chaining would hide. One cipher serves for all of them.
    this.#cipher = createCipheriv('aes-128-ecb', key, null).setAutoPadding(false);
    this.#decipher = createDecipheriv('aes-128-ecb', key, null).setAutoPadding(false);
  }

  seal(position: number): string {
    const block = Buffer.alloc(BLOCK_BYTES);
    this.#epoch.copy(block);
    block.writeUInt32BE(this.#salt, EPOCH_BYTES);
    block.writeUIntBE(position, EPOCH_BYTES + SALT_BYTES, POSITION_BYTES);
    this.#salt = (this.#salt + 1) >>> 0;
    return this.#cipher.update(block).toString('base64url');
  }

  /** The position, or undefined for what this manager has not sealed. */
  open(token: string): number | undefined {
    const sealed = Buffer.from(token, 'base64url');
    if (sealed.length !== BLOCK_BYTES) return undefined; // part of a block would stay in the cipher
    const block = this.#decipher.update(sealed);
    return block.subarray(0, EPOCH_BYTES).equals(this.#epoch) ? block.readUIntBE(EPOCH_BYTES + SALT_BYTES, POSITION_BYTES) : undefined;
  }
}
