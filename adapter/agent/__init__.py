"""What runs inside the pod."""
