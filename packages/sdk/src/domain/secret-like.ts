/** Whether a text may be a key or a token that was put where a name belongs: ours, the control plane's, an issuer's. Such texts are not repeated. */
export const isSecretLike = (text: string): boolean => /tskey-|bfk_|^eyJ/.test(text);
