/** The parts of Kubernetes' NetworkPolicy that Bifrost reads. Inside rules a list that is absent or empty stands for everything, as Kubernetes has it. */
export interface NetworkPolicyShape {
  readonly name: string;
  readonly podSelector: LabelSelectorShape;
  readonly policyTypes: readonly string[];
  readonly ingress: readonly IngressRuleShape[];
  readonly egress: readonly EgressRuleShape[];
}

export interface LabelSelectorShape {
  readonly matchLabels?: Readonly<Record<string, string>>;
  readonly matchExpressions?: readonly {
    readonly key: string;
    readonly operator: string;
    readonly values?: readonly string[];
  }[];
}

/** No `from`: every source. No `ports`: every port of every protocol. */
export interface IngressRuleShape {
  readonly from?: readonly PolicyPeerShape[];
  readonly ports?: readonly PolicyPortShape[];
}

/** No `to`: every destination. No `ports`: every port of every protocol. */
export interface EgressRuleShape {
  readonly to?: readonly PolicyPeerShape[];
  readonly ports?: readonly PolicyPortShape[];
}

/** Addresses, or pods: `podSelector` alone means those of the policy's own namespace, `namespaceSelector` alone all of the namespaces that it selects. */
export interface PolicyPeerShape {
  readonly ipBlock?: { readonly cidr: string; readonly except?: readonly string[] };
  readonly podSelector?: LabelSelectorShape;
  readonly namespaceSelector?: LabelSelectorShape;
}

/** No `protocol`: TCP. No `port`: every port of the protocol. A text names a port of the pod that is sent to. `endPort` is the last of a range. */
export interface PolicyPortShape {
  readonly protocol?: string;
  readonly port?: number | string;
  readonly endPort?: number;
}
