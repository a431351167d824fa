"""From CiliumBGPPeeringPolicy to CiliumBGPClusterConfig, CiliumBGPPeerConfig and CiliumBGPAdvertisement."""
